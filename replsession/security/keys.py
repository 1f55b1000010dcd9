"""
Everything that a cluster's one secret is turned into, and the seal on heartbeats.

1. One derivation per use, so that nothing learnt about one key says anything about another.
2. The cluster's name is part of each derivation: clusters with one secret stay strangers.
3. A heartbeat is authenticated before a byte of its payload is looked at; what fails is dropped.
4. No secret and no key stands in a ``repr``, an error or a log line.

*Source*: RFC 5869 (HKDF); RFC 2104 section 5 (an HMAC may be truncated to half its length).
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from replsession.errors import ConfigError

SECRET_CHARACTERS_MIN: Final = 32
DISTINCT_CHARACTERS_MIN: Final = 10
DOCUMENTED_SECRETS: Final = ("replsession-documentation-secret-do-not-use",)
"""Secrets that stand in our own documentation, so that everybody knows them."""

HEARTBEAT_MAGIC: Final = b"rplH"
KEY_ID_BYTES: Final = 4
SEAL_BYTES: Final = 16
HEARTBEAT_BYTES_MAX: Final = 512
"""Bound on a whole datagram: fits any path unfragmented (RFC 791: 576 bytes less headers)."""
PAYLOAD_BYTES_MAX: Final = HEARTBEAT_BYTES_MAX - len(HEARTBEAT_MAGIC) - KEY_ID_BYTES - SEAL_BYTES

_SALT: Final = b"replsession/v1"
_GOOD_SECRET: Final = (
    f"at least {SECRET_CHARACTERS_MIN} random characters; make one with: "
    'python -c "import secrets; print(secrets.token_urlsafe(32))"'
)


class ClusterKeys:
    """
    The keys of one cluster.

    Args:
        secret: The cluster's secret; it is not kept.
        cluster: Name of the cluster.
    """

    __slots__ = ("_heading", "ca_seed", "control_key", "heartbeat_key", "key_id")

    def __init__(self, secret: str, cluster: str) -> None:
        self.ca_seed: Final = _derived(secret, "tls-ca-ed25519", cluster, 32)
        """32 bytes: the private key of the authority that all members derive alike."""
        self.heartbeat_key: Final = _derived(secret, "heartbeat-hmac", cluster, 32)
        self.control_key: Final = _derived(secret, "control-hmac", cluster, 32)
        """32 bytes: signs what administrators ask a member through its web server."""
        self.key_id: Final = _derived(secret, "key-id", cluster, KEY_ID_BYTES)
        """4 bytes, public: tells which secret a datagram was sealed with."""
        self._heading: Final = HEARTBEAT_MAGIC + self.key_id

    def __repr__(self) -> str:
        return f"ClusterKeys(key_id={self.key_id.hex()})"

    def seal(self, payload: bytes) -> bytes:
        """
        Return the datagram ``magic ‖ key id (4) ‖ payload ‖ HMAC-SHA256[:16]``.

        Args:
            payload: Opaque bytes, at most ``PAYLOAD_BYTES_MAX``.

        Raises:
            ValueError: The payload is longer than that.
        """
        if len(payload) > PAYLOAD_BYTES_MAX:
            raise ValueError(
                f"a heartbeat's payload has {len(payload)} bytes; at most {PAYLOAD_BYTES_MAX} fit"
            )
        sealed = self._heading + payload
        return sealed + self._tag(sealed)

    def opened(self, datagram: bytes) -> bytes | None:
        """Return the payload of a datagram sealed with these keys, or None for any other bytes."""
        shortest = len(self._heading) + SEAL_BYTES
        if not shortest <= len(datagram) <= HEARTBEAT_BYTES_MAX:
            return None
        if not datagram.startswith(self._heading):
            return None
        sealed, tag = datagram[:-SEAL_BYTES], datagram[-SEAL_BYTES:]
        if not hmac.compare_digest(self._tag(sealed), tag):
            return None
        return sealed[len(self._heading) :]

    def _tag(self, sealed: bytes) -> bytes:
        return hmac.digest(self.heartbeat_key, sealed, hashlib.sha256)[:SEAL_BYTES]


def check_secret(secret: str, field: str = "secret") -> None:
    """
    Refuse a secret that could be guessed, for a cluster that goes beyond this host.

    Whoever can reach a member can test guesses against its certificate on his own machines, so
    all protection is in the secret's randomness. This finds what is surely bad, not what is good.

    Args:
        secret: What the user configured.
        field: Name of the setting, for the message.

    Raises:
        ConfigError: Too short, too uniform, a repeated pattern, or taken from our documentation.
            The message describes the secret and never shows it.
    """
    problem = _problem_of(secret)
    if problem is not None:
        raise ConfigError(field, _Description(problem), _GOOD_SECRET)


class _Description(str):
    """What stands in an error in the place of a secret; its ``repr`` has no quotation marks."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def _problem_of(secret: object) -> str | None:
    if not isinstance(secret, str):
        return f"a secret of type {type(secret).__name__}"
    if len(secret) < SECRET_CHARACTERS_MIN:
        return f"a secret of {len(secret)} characters"
    if (distinct := len(set(secret))) < DISTINCT_CHARACTERS_MIN:
        return f"a secret with only {distinct} different characters"
    if (length := _pattern_length(secret)) is not None:
        return f"a secret that repeats a pattern of {length} characters"
    if any(documented in secret for documented in DOCUMENTED_SECRETS):
        return "a secret from the documentation, which everybody can read"
    return None


def _pattern_length(secret: str) -> int | None:
    """Return the length of a pattern that fills the secret twice or more and is too short alone."""
    longest = min(len(secret) // 2, SECRET_CHARACTERS_MIN - 1)
    for length in range(1, longest + 1):
        if secret[length:] == secret[:-length]:
            return length
    return None


def _derived(secret: str, label: str, cluster: str, length: int) -> bytes:
    # An environment variable that is not UTF-8 reaches us as lone surrogates; it is a secret still.
    info = label.encode("ascii") + b"\0" + cluster.encode("utf-8", "surrogatepass")
    derivation = HKDF(algorithm=SHA256(), length=length, salt=_SALT, info=info)
    return derivation.derive(secret.encode("utf-8", "surrogatepass"))
