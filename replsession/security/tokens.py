"""
What the browser holds: a signed name of its session, and what it has seen of it, in the cookie or
after ``;jsessionid=``.

::

    base64url( 0x01 ‖ locator (12) ‖ secret (16) )  .  base64url( HMAC-SHA256 )
             39 characters                          1        43 characters
    .  base64url( n × [ member (8) ‖ clock (8) ] ‖ greatest clock (8) or nothing ‖ tag (12) )
    1        n is 0 to 8, usually 1 or 2: 38 or 59 characters

The first two parts name the session. The third says which version of it the client has seen
(docs/design.md, "Freshness"); its tag is a keyed BLAKE2b over the whole token, so that nobody can
claim to have seen what no member will ever have. Without it the token is good, but says nothing.

A token that was not signed with one of the application's secrets costs one HMAC per secret and asks
nobody; a client can never choose an id. Signatures are compared as text, so a name has exactly one
form and not the several that a lenient base64 decoder takes for the same.

*Source*: itsdangerous ``Signer``, with its key derivation done once instead of at each call.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping, Sequence
from struct import Struct
from typing import Final, Generic, TypeVar

from itsdangerous import Signer

from replsession.errors import ConfigError
from replsession.identity import (
    LOCATOR_BYTES,
    MEMBER_ID_BYTES,
    SECRET_BYTES,
    MemberId,
    hash_of_secret,
)
from replsession.session.stamp import HLC_MAX, NOTHING_SEEN, Seen

NAME_CHARACTERS: Final = 83
"""Of the two parts that name the session."""
WRITERS_MAX: Final = 8
"""Writers named in a token: those with the greatest clock values."""
VERIFIED_MAX: Final = 4096
"""Bound on the tokens remembered as verified, about 2 MiB; a hit saves the HMAC."""

_SALT: Final = b"replsession.session-token"
_SEEN_PERSON: Final = b"replsession.seen"
_VERSION: Final = b"\x01"
_NAME_BYTES: Final = len(_VERSION) + LOCATOR_BYTES + SECRET_BYTES
_CLOCK: Final = Struct(">Q")
_PAIR_BYTES: Final = MEMBER_ID_BYTES + _CLOCK.size
_TAG_BYTES: Final = 12
_SEEN_CHARACTERS_MAX: Final = (WRITERS_MAX * _PAIR_BYTES + _CLOCK.size + _TAG_BYTES) * 4 // 3 + 1


Token = TypeVar("Token")


class TokenSigner(Generic[Token]):
    """
    Signs the ids that go to clients, and verifies those that come back.

    Safe to use from several threads.

    Args:
        secrets: The application's secrets: the first signs, all verify. One may be short, as
            Starlette allows it. A single string is one secret.
        read: Makes what :meth:`verify` returns, of locator, hash of the secret part, and the name
            as the first secret signs it; called once for a name as long as it is remembered.

    Raises:
        ConfigError: There is none, or one is empty or no string.
    """

    __slots__ = ("_earlier", "_keys", "_read", "_recent", "_signers")

    def __init__(self, secrets: Sequence[str], read: Callable[[bytes, bytes, str], Token]) -> None:
        self._read: Final = read
        self._signers: Final = tuple(_signer(secret) for secret in _checked(secrets))
        self._keys: Final = tuple(_seen_key(secret) for secret in _checked(secrets))
        self._recent: dict[str, Token] = {}
        self._earlier: dict[str, Token] = {}

    def __repr__(self) -> str:
        return f"TokenSigner({len(self._signers)} secrets)"

    def sign(self, locator: bytes, secret: bytes) -> str:
        """
        Return the signed name of a session.

        Args:
            locator: 12 bytes.
            secret: 16 bytes, the part that the client alone keeps.
        """
        assert len(locator) == LOCATOR_BYTES and len(secret) == SECRET_BYTES
        name = urlsafe_b64encode(_VERSION + locator + secret).rstrip(b"=")
        return self._signers[0].sign(name).decode("ascii")

    def token(self, name: str, seen: Seen) -> str:
        """
        Return the token of a session: its signed name, and what its client has seen of it.

        Args:
            name: As :meth:`sign` returned it, or what ``read`` was called with.
            seen: Of more than eight writers, those with the greatest clock values are named.
        """
        body = _body(seen)
        sealed = body + _tag(self._keys[0], name, body)
        return f"{name}.{urlsafe_b64encode(sealed).rstrip(b'=').decode('ascii')}"

    def verify(self, token: str) -> tuple[Token, Seen] | None:
        """
        Return what a token names, and what its client has seen of that session.

        Never raises: None for any text that we did not sign, and for one of which a part is ours.
        """
        name, seen = token[:NAME_CHARACTERS], NOTHING_SEEN
        verified = self._recent.get(name) or self._verified(name)
        if verified is None:
            return None
        if len(token) > NAME_CHARACTERS:
            opened = self._seen(name, token[NAME_CHARACTERS:])
            if opened is None:
                return None
            seen = opened
        return verified, seen

    def _seen(self, name: str, text: str) -> Seen | None:
        if not text.startswith(".") or len(text) > 1 + _SEEN_CHARACTERS_MAX:
            return None
        try:
            sealed = urlsafe_b64decode(text[1:] + "=" * (-(len(text) - 1) % 4))
        except ValueError:
            return None
        body, tag = sealed[:-_TAG_BYTES], sealed[-_TAG_BYTES:]
        if urlsafe_b64encode(sealed).rstrip(b"=").decode("ascii") != text[1:]:
            return None
        for key in self._keys:
            if hmac.compare_digest(_tag(key, name, body), tag):
                return _read_body(body)
        return None

    def _verified(self, token: str) -> Token | None:
        if len(token) != NAME_CHARACTERS:
            return None
        verified = self._earlier.get(token) or self._opened(token)
        if verified is not None:
            # Two halves instead of one queue: no thread ever walks a dict that another one changes.
            if len(self._recent) >= VERIFIED_MAX // 2:
                self._earlier, self._recent = self._recent, {}
            self._recent[token] = verified
        return verified

    def _opened(self, token: str) -> Token | None:
        if not token.isascii():
            return None
        text, _, signature = token.encode("ascii").rpartition(b".")
        for signer in self._signers:
            if hmac.compare_digest(signer.get_signature(text), signature):
                name = _name(text)
                if name is None:
                    return None
                # What goes back to the client is signed by the first secret, so that a secret can
                # be retired when the sessions that it signed have been in use once more.
                return self._read(*name, self._signers[0].sign(text).decode("ascii"))
        return None


def _name(text: bytes) -> tuple[bytes, bytes] | None:
    """Return what a signed name says, or None if it is of a later version of this package."""
    try:
        name = urlsafe_b64decode(text + b"=")
    except ValueError:
        return None
    if len(name) != _NAME_BYTES or not name.startswith(_VERSION):
        return None
    locator, secret = name[1 : 1 + LOCATOR_BYTES], name[1 + LOCATOR_BYTES :]
    return locator, hash_of_secret(secret)


def _body(seen: Seen) -> bytes:
    version: Mapping[MemberId, int] = seen.version
    if len(version) > WRITERS_MAX:
        newest = sorted(version, key=version.__getitem__)[-WRITERS_MAX:]
        version = {member: version[member] for member in newest}
    body = b"".join([member + _CLOCK.pack(hlc) for member, hlc in version.items()])
    return body + _CLOCK.pack(seen.clock) if seen.clock > max(version.values(), default=0) else body


def _read_body(body: bytes) -> Seen | None:
    pairs, rest = divmod(len(body), _PAIR_BYTES)
    if pairs > WRITERS_MAX or rest not in (0, _CLOCK.size):
        return None
    version: dict[MemberId, int] = {}
    for at in range(0, pairs * _PAIR_BYTES, _PAIR_BYTES):
        (version[body[at : at + MEMBER_ID_BYTES]],) = _CLOCK.unpack_from(body, at + MEMBER_ID_BYTES)
    clock = max(version.values(), default=0)
    if rest:
        (clock,) = _CLOCK.unpack_from(body, pairs * _PAIR_BYTES)
    return Seen(version, clock) if clock < HLC_MAX else None


def _tag(key: bytes, name: str, body: bytes) -> bytes:
    text = name.encode("ascii") + body
    return hashlib.blake2b(text, digest_size=_TAG_BYTES, key=key, person=_SEEN_PERSON).digest()


def _seen_key(secret: str) -> bytes:
    text = secret.encode("utf-8", "surrogatepass")
    return hmac.digest(hashlib.sha256(text).digest(), _SALT + b".seen", "sha256")


def _checked(secrets: Sequence[str]) -> list[str]:
    several = [secrets] if isinstance(secrets, str) else list(secrets)
    if not several:
        raise ConfigError("secret_key", several, "at least one secret")
    for position, secret in enumerate(several):
        if not isinstance(secret, str):
            given = f"{type(secret).__name__} at position {position}"
            raise ConfigError("secret_key", given, "a string, or a list of strings")
        if not secret:
            given = f"an empty string at position {position}"
            raise ConfigError("secret_key", given, "secrets that are not empty")
    return several


def _signer(secret: str) -> Signer:
    key = secret.encode("utf-8", "surrogatepass")
    derived = Signer(
        key, salt=_SALT, digest_method=hashlib.sha256, key_derivation="hmac"
    ).derive_key()
    return Signer(derived, salt=_SALT, digest_method=hashlib.sha256, key_derivation="none")
