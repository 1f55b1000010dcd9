"""
The session that an application sees, and what it changed.

Rules of this file:

1. A session is a snapshot: what other requests write meanwhile is not seen, and merges at commit.
2. What was assigned or removed is written; what was only read, and can be changed in place, is
   encoded again at the seal and compared. Nothing changed, nothing is written.
3. A session that was cleared, or has no attribute left, ends: users of Starlette's sessions log out
   that way. What is written after that is a new session with a new id.
4. The pure part is here: the recording and the seal. What needs the world comes in with one
   :class:`SessionContext` from the front door.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Self

from replsession.concern import Concern
from replsession.config import is_number
from replsession.errors import SessionError, UnserializableAttribute
from replsession.identity import Key, public_id
from replsession.session.change import Change
from replsession.session.context import Identity, Loaded, SessionContext
from replsession.session.expiry import SECONDS_MAX, SessionLimits, encoded_limits
from replsession.session.mapping import NOT_LOADED, Attributes
from replsession.session.record import INTERVAL, SECRET, Values
from replsession.session.values import mutable


class Session(Attributes):
    """
    A session as a ``dict``, with ``accessed`` and ``modified`` as in Starlette.

    Values are plain and the request's own. May be stored: None, bool, int of 64 bits, float, str,
    bytes, list, tuple, set, frozenset, dict with str or int keys, datetime, date, time, timedelta,
    Decimal, UUID, and objects of classes given to :func:`replsession.register`, at most 32 levels
    deep; anything else raises :class:`UnserializableAttribute` when the request commits.
    """

    _context: SessionContext | None = None
    _loaded: Loaded | None = None
    _identity: Identity | None = None
    _new_limits: SessionLimits | None = None
    _rotated: bool = False
    _cleared: bool = False
    _is_changed: bool = False
    """Something beside the attributes changed: the id, the limits, or it was cleared."""
    _lost: bool = False
    _born: bool = False
    _exposed: bool = False
    _has_new_id: bool = False
    _unborn: bool = False
    _has_committed: bool = False
    _pending: tuple[Change, ...] = ()
    _unreadable: Mapping[str, None] = MappingProxyType({})
    """Names of attributes that are there, but can't be decoded here."""

    @classmethod
    def attached(cls, context: SessionContext, loaded: Loaded | None) -> Self:
        """Return the session of a request, over what the request found; None: a new one."""
        # Not by __init__, whose arguments are those of dict: this is done for every request.
        session = cls.__new__(cls)
        session._context = context
        session._fill(loaded)
        return session

    @classmethod
    def lazy(cls, context: SessionContext) -> Self:
        """Return the session of a filtered request: looked up when it is first touched."""
        session = cls.__new__(cls)
        session._context = context
        session._lazy = True
        # So that code in C which asks for the size only, as that of ``json`` does, goes on and asks
        # for the items, which loads.
        dict.__setitem__(session, "", NOT_LOADED)
        return session

    def _fill(self, loaded: Loaded | None) -> None:
        self._written = {}
        self._watched = {}
        if loaded is None:
            self._baseline = {}
        else:
            self._loaded = loaded
            self._identity = loaded.identity
            self._baseline = loaded.values
            self._put_unread(loaded.values)

    def _load(self) -> None:
        assert self._context is not None
        self._lazy = False
        dict.clear(self)
        self._fill(self._context.load())

    def _undecodable(self, name: str, error: Exception) -> None:
        self._unreadable = {**self._unreadable, name: None}
        if self._context is not None:
            self._context.undecodable(self.id, name, error)

    def clear(self) -> None:
        """Remove everything, which ends the session; a write after that begins a new one."""
        super().clear()
        self._rotated = self._exposed = False
        self._cleared = self._cleared or self._loaded is not None
        self._is_changed = self._cleared
        self._identity = self._new_limits = None
        self._unreadable = {}

    @property
    def id(self) -> str | None:
        """Public id, 24 characters; None before the first write. Safe to print, no credential."""
        identity = self._names()
        return None if identity is None else public_id(identity.key.locator, identity.secret_hash)

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
        self.mark_modified()
        self._new_limits = self._session_limits()._replace(idle_s=seconds)
        self._is_changed = True

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
            self._rotated = self._is_changed = True

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

    def _existing(self) -> Loaded | None:
        """Return what the request found or committed, unless it was cleared since."""
        self._read()
        return None if self._cleared else self._loaded

    def _names(self) -> Identity | None:
        self._read()
        if self.modified and not dict.__len__(self):
            # Its last attribute was removed: the commit will end it.
            return None
        if self._identity is None and self._context is not None and dict.__len__(self):
            self._identity = self._context.new_identity()
        return self._identity

    def _session_limits(self) -> SessionLimits:
        existing = self._existing()
        if self._new_limits is not None:
            return self._new_limits
        if existing is not None:
            return existing.limits
        return (
            SessionLimits(None, None) if self._context is None else self._context.default_limits()
        )

    def seal(self) -> tuple[Change, ...]:
        """
        Return what this request changed since the last seal, to be committed in this order.

        Raises:
            UnserializableAttribute: a value that may not be stored; nothing was changed.
            SessionTooLarge: a bound was passed; nothing was changed.
        """
        if self._context is None or self._lost or not self.is_dirty:
            return ()
        loaded = self._loaded
        is_empty = self._unborn or self._is_empty()
        if loaded is None:
            self._pending = () if is_empty else (self._birth(),)
        elif self._cleared or (self.modified and is_empty):
            end = Change(loaded.identity.key, {}, destroy=True)
            self._pending = (end,) if is_empty else (end, self._birth())
        else:
            self._catch_up()
            writes = self._writes(self._baseline)
            if self._new_limits is not None:
                writes[INTERVAL] = encoded_limits(self._new_limits)
            assert self._identity is not None
            if self._rotated:
                writes[SECRET] = self._identity.secret_hash
            self._pending = (Change(self._identity.key, writes),) if writes else ()
        return self._pending

    def _is_empty(self) -> bool:
        if dict.__len__(self):
            return False
        return all(name in self._written for name in self._unreadable)

    def _birth(self) -> Change:
        writes = self._writes({})
        identity = self._names()
        assert identity is not None
        writes[INTERVAL] = encoded_limits(self._session_limits())
        writes[SECRET] = identity.secret_hash
        return Change(identity.key, writes, birth=True)

    @property
    def is_dirty(self) -> bool:
        """Whether a seal may find something."""
        return bool(self._written or self._watched or self._is_changed)

    @property
    def would_be_born(self) -> bool:
        """Whether the next seal would begin a session, since there is none or it was ended."""
        return (
            dict.__len__(self) > 0 and (self._loaded is None or self._cleared) and not self._unborn
        )

    @property
    def is_exposed(self) -> bool:
        """Whether the application took the token, to print it somewhere."""
        return self._exposed

    @property
    def was_lost(self) -> bool:
        """Whether the session was ended elsewhere before this request could commit."""
        return self._lost

    @property
    def has_new_id(self) -> bool:
        """Whether the client has not been told this id: the session is new, or was rotated."""
        return self._has_new_id

    @property
    def committed_identity(self) -> Identity | None:
        """The names of the session if it exists, as found or committed."""
        return None if self._loaded is None else self._loaded.identity

    def found(self) -> tuple[dict[str, bytes], str | None]:
        """Return the bytes and the public id that were found, or committed last."""
        if self._loaded is None:
            return {}, None
        self._catch_up()
        identity = self._loaded.identity
        return self._baseline, public_id(identity.key.locator, identity.secret_hash)

    @property
    def changed_key(self) -> Key | None:
        """Where the session is kept, if this request has committed to it."""
        if self._loaded is None or not self._has_committed:
            return None
        return self._loaded.identity.key

    def committed(self) -> None:
        """Take what was sealed last for the new state: the next seal finds what is newer."""
        self._has_committed = self._has_committed or bool(self._pending)
        for change in self._pending:
            if change.destroy:
                self._loaded = None
                self._baseline = {}
                self._behind = {}
                if len(self._pending) == 1:
                    self._identity = self._new_limits = None
                continue
            # Most requests seal once with something to write: the rest is left to a second seal.
            self._catch_up()
            self._behind = change.writes
            if change.birth or self._rotated or self._new_limits is not None:
                self._adopt(change)
        for name in self._written:
            if mutable(dict.get(self, name)):
                self._watched[name] = None
        self._written = {}
        self._cleared = self._rotated = self._is_changed = False
        self._pending = ()

    def stay_unborn(self) -> None:
        """No id can reach the client any more: nothing that is written begins a session."""
        self._unborn = True

    def lost(self) -> None:
        """The session was ended elsewhere: what this request wrote has nowhere to go."""
        self._lost = True
        self._pending = ()

    def _adopt(self, change: Change) -> None:
        assert self._identity is not None and self._context is not None
        limits = self._session_limits()
        self._has_new_id = self._has_new_id or SECRET in change.writes
        if self._loaded is None:
            now = self._context.wall_time()
            self._born = True
            self._loaded = Loaded(self._identity, Values(self._baseline), now, now, limits)
        else:
            self._loaded = self._loaded._replace(identity=self._identity, limits=limits)
        self._new_limits = None

    def _writes(self, baseline: dict[str, bytes]) -> dict[str, bytes | None]:
        assert self._context is not None
        try:
            return self._changed(baseline, self._context.limits)
        except UnserializableAttribute as error:
            error.session_id = None if self._identity is None else self.id
            raise
