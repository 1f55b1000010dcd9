"""
What the browser holds: a signed name of its session, in the cookie or after ``;jsessionid=``.

::

    base64url( 0x01 ‖ locator (12) ‖ secret (16) )  .  base64url( HMAC-SHA256 )
             39 characters                          1        43 characters

A token that was not signed with one of the application's secrets costs one HMAC per secret and asks
nobody; a client can never choose an id. The signature is compared as text, so a session has exactly
one token and not the several that a lenient base64 decoder takes for the same.

*Source*: itsdangerous ``Signer``, with its key derivation done once instead of at each call.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from typing import Final, Generic, TypeVar

from itsdangerous import Signer

from replsession.errors import ConfigError
from replsession.identity import LOCATOR_BYTES, SECRET_BYTES, hash_of_secret

TOKEN_CHARACTERS: Final = 83
VERIFIED_MAX: Final = 4096
"""Bound on the tokens remembered as verified, about 2 MiB; a hit saves the HMAC."""

_SALT: Final = b"replsession.session-token"
_VERSION: Final = b"\x01"
_NAME_BYTES: Final = len(_VERSION) + LOCATOR_BYTES + SECRET_BYTES


Token = TypeVar("Token")


class TokenSigner(Generic[Token]):
    """
    Signs the ids that go to clients, and verifies those that come back.

    Safe to use from several threads.

    Args:
        secrets: The application's secrets: the first signs, all verify. One may be short, as
            Starlette allows it. A single string is one secret.
        read: Makes what :meth:`verify` returns, of locator, hash of the secret part, and the token
            as the first secret signs it; called once for a token as long as it is remembered.

    Raises:
        ConfigError: There is none, or one is empty or no string.
    """

    __slots__ = ("_earlier", "_read", "_recent", "_signers")

    def __init__(self, secrets: Sequence[str], read: Callable[[bytes, bytes, str], Token]) -> None:
        self._read: Final = read
        self._signers: Final = tuple(_signer(secret) for secret in _checked(secrets))
        self._recent: dict[str, Token] = {}
        self._earlier: dict[str, Token] = {}

    def __repr__(self) -> str:
        return f"TokenSigner({len(self._signers)} secrets)"

    def sign(self, locator: bytes, secret: bytes) -> str:
        """
        Return the token of a session.

        Args:
            locator: 12 bytes.
            secret: 16 bytes, the part that the client alone keeps.
        """
        assert len(locator) == LOCATOR_BYTES and len(secret) == SECRET_BYTES
        name = urlsafe_b64encode(_VERSION + locator + secret).rstrip(b"=")
        return self._signers[0].sign(name).decode("ascii")

    def verify(self, token: str) -> Token | None:
        """Return what a token names, or None for any text that we did not sign; never raises."""
        if len(token) != TOKEN_CHARACTERS:
            return None
        known = self._recent.get(token)
        return known if known is not None else self._verified(token)

    def _verified(self, token: str) -> Token | None:
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
