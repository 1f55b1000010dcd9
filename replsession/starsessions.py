"""
A store for starsessions.

::

    middleware = [
        Middleware(SessionMiddleware, store=ReplicatedStore(SECRET), lifetime=3600, rolling=True),
        Middleware(SessionAutoloadMiddleware),
    ]

starsessions hands over the whole session as opaque bytes under an id that it takes from the client.
So of two requests at once the later one wins, whole; what is ended stays ended.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any, Unpack

from starsessions.session import generate_session_id
from starsessions.stores.base import SessionStore

from replsession.web.opaque import OpaqueStore, StoreOptions

BROWSER_SESSION_S = 14 * 24 * 3600
"""How long a session without a lifetime is kept: nobody hears when the browser ends."""

_nothing_found: ContextVar[str | None] = ContextVar("replsession.starsessions", default=None)
"""The id under which this request has found nothing."""


class ReplicatedStore(SessionStore):
    """
    Sessions in the memory of every member, for the ``SessionMiddleware`` of starsessions.

    Args:
        secret_key: Where a session lies depends on it; also the cluster's secret, unless that has
            its own. With a list, sessions of the others are found as well.
        context: The application's name in the cluster.
        options: ``cluster``, ``required``, ``concern``, ``ack_timeout_s``, ``expected_members``.

    Raises:
        ConfigError: a value is not allowed.
    """

    def __init__(
        self, secret_key: Any, context: str = "/starsessions", **options: Unpack[StoreOptions]
    ) -> None:
        self._values = OpaqueStore(secret_key, context, **options)

    async def read(self, session_id: str, lifetime: int) -> bytes:
        """Return a session, empty if there is none."""
        held = await self._values.get(session_id)
        if held is None:
            _nothing_found.set(session_id)
            return b""
        return held.value

    async def write(self, session_id: str, data: bytes, lifetime: int, ttl: int) -> str:
        """
        Put a session.

        Returns:
            Its id: another one if the request had found nothing under its own, so that no client
            chooses an id, and a browser with the id of an ended session can log in again.
        """
        if _nothing_found.get() == session_id:
            _nothing_found.set(None)
            session_id = generate_session_id()
        ttl_s = max(ttl, 1) if lifetime else BROWSER_SESSION_S
        await self._values.put(session_id, data, ttl_s)
        return session_id

    async def remove(self, session_id: str) -> None:
        """End a session for good, on every member."""
        await self._values.end(session_id)

    async def exists(self, session_id: str) -> bool:
        """Tell whether there is a session."""
        return await self._values.get(session_id) is not None
