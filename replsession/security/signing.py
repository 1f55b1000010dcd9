"""
The signature of an administrator's request that comes over a web server.

It covers method, path and body, with a time, by a key that is derived from the cluster's one secret
and used for nothing else. So no new password is needed: who has the secret is a member, and may ask
and end what members may.

A request may be replayed as long as its time is near. It asks for what whoever could listen has
already seen, or ends a session that has ended already; only a replayed ``invalidate_all`` ends
sessions that began in between. Clocks of administrators and servers differ, so the bound is
generous. Answers are not encrypted: ask over https.

*Source*: itsdangerous ``TimestampSigner``; its ``max_age`` refuses times of clocks that are ahead.
"""

from __future__ import annotations

import hashlib
from typing import Final

from itsdangerous import BadSignature, TimestampSigner

from replsession.config import CONTROL_CLOCKS_APART_S

HEADER: Final = "X-Replsession-Signature"
_SALT: Final = "replsession.control"
_CHARACTERS_MAX: Final = 256
"""Of a signature; a longer one is none."""


class WrongSignature(Exception):
    """A request that is not to be answered; its text says what to look at, and no secret."""


def signature(key: bytes, method: str, path: str, body: bytes) -> str:
    """
    Return the signature of a request, now.

    Args:
        key: ``ClusterKeys.control_key``.
        method: As ``POST``.
        path: The last part of the path, as ``/status``: proxies change those before it.
        body: As it is sent.
    """
    covered = _covered(method, path, body)
    return _signer(key).sign(covered).decode("ascii")[len(covered) + 1 :]


def check_signature(
    key: bytes, given: str, method: str, path: str, body: bytes, wall_s: float
) -> None:
    """
    Refuse a request that nobody signed who has the secret, or a while ago.

    Args:
        key: As for :func:`signature`.
        given: The signature that came; empty: none did.
        method: Of the request that came.
        path: The last part of its path.
        body: All of it.
        wall_s: Unix seconds now.

    Raises:
        WrongSignature: it is not to be answered.
    """
    if not given:
        raise WrongSignature(f"no signature: {HEADER} is missing")
    try:
        if len(given) > _CHARACTERS_MAX:
            raise BadSignature("too long")
        text = f"{_covered(method, path, body)}.{given}"
        _, signed_at = _signer(key).unsign(text, return_timestamp=True)
    except BadSignature:
        raise WrongSignature(
            "wrong signature: it was made with another secret, for a cluster of another name, or "
            "the request was changed on its way"
        ) from None
    apart_s = wall_s - signed_at.timestamp()
    if abs(apart_s) > CONTROL_CLOCKS_APART_S:
        raise WrongSignature(
            f"the request was signed {abs(apart_s):.0f} s {'ago' if apart_s > 0 else 'ahead'}; "
            f"at most {CONTROL_CLOCKS_APART_S:.0f} s are allowed: look at the clocks"
        )


def _covered(method: str, path: str, body: bytes) -> str:
    # A path of another web server may hold anything, so that it is hashed, too.
    digest = hashlib.sha256(b"\0".join((method.encode(), path.encode(errors="replace"), body)))
    return digest.hexdigest()


def _signer(key: bytes) -> TimestampSigner:
    return TimestampSigner(key, salt=_SALT, digest_method=hashlib.sha256, key_derivation="hmac")
