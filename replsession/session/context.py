"""
What a session needs of the world, as a contract: ids, tokens, URLs and time come from outside.

``web/exchange.py`` has the object behind it; sessions stay pure.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from replsession.config import Limits
from replsession.identity import Key
from replsession.session.expiry import SessionLimits
from replsession.session.record import Values


class Identity(NamedTuple):
    """A session's names: where it is kept, the hash of its secret part, and the client's token."""

    key: Key
    secret_hash: bytes
    token: str

    def __repr__(self) -> str:
        # The token is a credential.
        return f"Identity({self.key!r})"


class Loaded(NamedTuple):
    """What a request found of its session. Times are Unix seconds."""

    identity: Identity
    values: Values
    created_at: float
    last_accessed_at: float
    limits: SessionLimits


class SessionContext(Protocol):
    """What a session needs of the world; one object for each request."""

    is_started: bool
    """The response has started: no new id can reach the client any more."""

    @property
    def limits(self) -> Limits:
        """Bounds on values and sessions."""

    def load(self) -> Loaded | None:
        """Look the session up: on a filtered path, where nobody did before."""

    def new_identity(self) -> Identity:
        """Return the names of a session to be born."""

    def new_secret(self, identity: Identity) -> Identity:
        """Return the same session with another secret part."""

    def default_limits(self) -> SessionLimits:
        """Return how long a session lives unless it says otherwise."""

    def wall_time(self) -> float:
        """Return Unix seconds."""

    def encode_url(self, url: str, token: str) -> str:
        """Put the token into a URL, where that is right."""

    def undecodable(self, session_id: str | None, name: str, error: Exception) -> None:
        """Take note that the bytes of an attribute can't be read here."""
