"""
The session that an application sees: what it may ask of it, and tell it.

What becomes of it when the request ends is in ``sealing.py``.
"""

from __future__ import annotations

from replsession.concern import Concern
from replsession.config import is_number
from replsession.errors import SessionError
from replsession.session.expiry import SECONDS_MAX, encoded_limits
from replsession.session.record import INTERVAL, SECRET
from replsession.session.sealing import Sealable


class Session(Sealable):
    """
    A session as a ``dict``, with ``accessed`` and ``modified`` as in Starlette.

    Values are plain and the request's own. May be stored: None, bool, int of 64 bits, float, str,
    bytes, list, and dict with str keys, at most 32 levels deep; anything else raises
    :class:`UnserializableAttribute` when the request commits.
    """

    @property
    def id(self) -> str | None:
        """Public id, 24 characters; None before the first write. Safe to print, no credential."""
        return self._public_id()

    @property
    def is_new(self) -> bool:
        """Whether the client does not know this session yet."""
        return self._existing() is None or self._born

    @property
    def created_at(self) -> float | None:
        """When the session was born, in Unix seconds; None before its first write."""
        existing = self._existing()
        if existing is not None:
            return existing.created_at
        return None if self._context is None or not self else self._context.wall_time()

    @property
    def last_accessed_at(self) -> float | None:
        """When the request before this one came, in Unix seconds; of a new session: its birth."""
        existing = self._existing()
        return self.created_at if existing is None else existing.last_accessed_at

    @property
    def max_inactive_interval(self) -> float | None:
        """Seconds without a request after which the session is over; None: never."""
        return self._session_limits().idle_s

    @max_inactive_interval.setter
    def max_inactive_interval(self, seconds: float | None) -> None:
        if seconds is not None and (not is_number(seconds) or not 0 < seconds < SECONDS_MAX):
            raise ValueError(
                f"max_inactive_interval: got {seconds!r}; "
                "allowed: seconds above 0, or None for ever"
            )
        limits = self._session_limits()._replace(idle_s=seconds)
        self._write_register(INTERVAL, encoded_limits(limits))

    @property
    def stale(self) -> bool:
        """
        Whether the client has seen more of this session than is known here.

        It happens when the member that took its last write is cut off or dead, and nobody else
        has that write. What the application reads is older then; what it writes still merges.
        """
        self._read()
        return self._context is not None and self._context.is_stale

    async def commit(self, concern: Concern | None = None) -> None:
        """
        Commit what was changed so far, and wait until enough members hold it.

        Args:
            concern: ``async``, ``one``, ``majority`` or ``all``; None: the middleware's.

        Raises:
            ReplicationTimeout: not enough members have acknowledged it. It is not undone.
            UnserializableAttribute: a value that may not be stored; nothing was committed.
            SessionTooLarge: a bound was passed; nothing was committed.
        """
        if self._context is not None:
            await self._context.commit(self, concern)

    def commit_blocking(self, concern: Concern | None = None) -> None:
        """
        As :meth:`commit`, for plain functions in threads.

        Raises:
            SessionError: this thread runs a loop, which must not be blocked.
        """
        if self._context is not None:
            self._context.commit_blocking(self, concern)

    def invalidate(self) -> None:
        """
        End the session everywhere. A request that still runs with it cannot bring it back.

        What is written afterwards is a new session with a new id.
        """
        self.clear()

    def rotate_id(self) -> None:
        """
        Give the session another id, at login for example; the old one is dead once that arrived.

        Attributes stay, also those that other requests write at the same time.

        Raises:
            SessionError: the response has started, so the client could not be told.
        """
        self.mark_modified()
        if self._context is not None and self._context.is_started:
            raise SessionError("rotate_id: the response has started, so no new id can be sent")
        if self._existing() is not None and self._context is not None:
            assert self._identity is not None
            self._identity = self._context.new_secret(self._identity)
            self._write_register(SECRET, self._identity.secret_hash)

    @property
    def url_token(self) -> str | None:
        """The signed id for ``;jsessionid=``: a credential. None before the first write."""
        identity = self._names()
        if identity is None:
            return None
        self._exposed = True
        return identity.token if self._context is None else self._context.printed_token(identity)

    def encode_url(self, url: str) -> str:
        """
        Return *url* with ``;jsessionid=…`` where the client needs it, else as it is.

        Only with ``url_tracking=True``, only for URLs of this site, and not when the client sent a
        cookie. Source: ``HttpServletResponse.encodeURL``.
        """
        identity = self._names()
        if identity is None or self._context is None:
            return url
        encoded = self._context.encode_url(url, identity)
        self._exposed = self._exposed or encoded != url
        return encoded
