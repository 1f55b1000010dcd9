"""
What a session needs of the world, as a contract: ids, tokens, URLs and time come from outside.

``web/exchange.py`` has the object behind it; sessions stay pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from replsession.concern import Concern
from replsession.config import Limits
from replsession.identity import Key
from replsession.session.expiry import SessionLimits
from replsession.session.record import Values
from replsession.session.stamp import Seen

if TYPE_CHECKING:
    from replsession.session.session import Session


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
    news: Seen | None = None
    """Set if this shows more than the client's token says: what the client sees now."""
    stale: Seen | None = None
    """Set if the client has seen more than is here: what it sees now instead."""
    principal: str | None = None
    """Whose session it is, if the application has said so."""
    held: Seen | None = None
    """What the client's token said, if it said anything."""
    was_here: bool | None = None
    """Whether this member had served the session last, as far as it knew; None: nobody asked."""


class Local(Protocol):
    """Where attributes are kept that stay on this member; ``web/local.py`` has it."""

    def covers(self, name: object) -> bool:
        """Tell whether an attribute of this name stays here."""

    def of(self, key: Key) -> Mapping[str, Any]:
        """Return what a session has here."""

    def keep(self, key: Key, values: Mapping[str, Any], removed: Iterable[str]) -> None:
        """Keep what a request has written."""

    def forget(self, key: Key) -> None:
        """Drop what a session has here, since it is over."""


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

    def unique(self) -> bytes:
        """Return 8 bytes that were never returned before, to anybody."""

    def default_limits(self) -> SessionLimits:
        """Return how long a session lives unless it says otherwise."""

    def wall_time(self) -> float:
        """Return Unix seconds."""

    @property
    def is_stale(self) -> bool:
        """Whether the client has seen more of the session than this request was given."""

    def printed_token(self, identity: Identity) -> str:
        """Return a token to be printed, which covers the commit of this request to come."""

    def encode_url(self, url: str, identity: Identity) -> str:
        """Put such a token into a URL, where that is right."""

    async def commit(self, session: Session, concern: Concern | None) -> None:
        """Commit, and wait until the concern is met."""

    def commit_blocking(self, session: Session, concern: Concern | None) -> None:
        """The same in a thread that runs no loop."""

    def undecodable(self, session_id: str | None, name: str, error: Exception) -> None:
        """Take note that the bytes of an attribute can't be read here."""
