"""
The seal: what a request changed of its session, and what becomes of the session by it.

This is the side of a session that front doors drive. What applications call is in ``session.py``,
the attributes themselves in ``mapping.py``.

1. A session is a snapshot: what other requests write meanwhile is not seen, and merges at commit.
2. What was assigned or removed is written; what was only read, and can be changed in place, is
   encoded again at the seal and compared. Nothing changed, nothing is written.
3. A session that was cleared, or has no attribute left, ends: users of Starlette's sessions log out
   that way. What is written after that is a new session with a new id.
4. What a session keeps of itself (the hash of its secret part, its limits) is written under names
   that are reserved. A change of it is one entry in ``_registers``; the seal adds it to the rest.
5. What needs the world comes in with one :class:`SessionContext` from the front door.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Self

from replsession.errors import UnserializableAttribute
from replsession.identity import Key, public_id
from replsession.session.change import Change
from replsession.session.context import Identity, Loaded, SessionContext
from replsession.session.expiry import SessionLimits, decoded_limits, encoded_limits
from replsession.session.mapping import NOT_LOADED, Attributes
from replsession.session.record import INTERVAL, SECRET, Values
from replsession.session.values import mutable

NOTHING: Mapping[str, None] = MappingProxyType({})


class Sealable(Attributes):
    """Attributes that belong to a session, and that can be sealed into changes of it."""

    _context: SessionContext | None = None
    _loaded: Loaded | None = None
    """What the request found, or committed last."""
    _identity: Identity | None = None
    _registers: Mapping[str, bytes | None] = NOTHING
    """What changed under reserved names since the last seal; replaced, never changed."""
    _cleared: bool = False
    _lost: bool = False
    _born: bool = False
    _exposed: bool = False
    _has_new_id: bool = False
    _unborn: bool = False
    _has_committed: bool = False
    _pending: tuple[Change, ...] = ()
    """What was sealed last, and is not committed."""
    _unreadable: Mapping[str, None] = NOTHING
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
            self._context.undecodable(self._public_id(), name, error)

    def clear(self) -> None:
        """Remove everything, which ends the session; a write after that begins a new one."""
        super().clear()
        self._exposed = False
        self._cleared = self._cleared or self._loaded is not None
        self._identity = None
        self._registers = self._unreadable = NOTHING

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

    def _public_id(self) -> str | None:
        identity = self._names()
        return None if identity is None else public_id(identity.key.locator, identity.secret_hash)

    def _session_limits(self) -> SessionLimits:
        existing = self._existing()
        changed = self._registers.get(INTERVAL)
        if changed is not None:
            return decoded_limits(changed)
        if existing is not None:
            return existing.limits
        return (
            SessionLimits(None, None) if self._context is None else self._context.default_limits()
        )

    def _write_register(self, name: str, value: bytes | None) -> None:
        self.mark_modified()
        self._registers = {**self._registers, name: value}

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
            writes = {**self._writes(self._baseline), **self._registers}
            self._pending = (Change(loaded.identity.key, writes),) if writes else ()
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
        return bool(self._written or self._watched or self._registers or self._cleared)

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
                    self._identity = None
                    self._registers = NOTHING
                continue
            # Most requests seal once with something to write: the rest is left to a second seal.
            self._catch_up()
            self._behind = change.writes
            if change.birth or self._registers:
                self._adopt(change)
        for name in self._written:
            if mutable(dict.get(self, name)):
                self._watched[name] = None
        self._written = {}
        self._registers = NOTHING
        self._cleared = False
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

    def _writes(self, baseline: dict[str, bytes]) -> dict[str, bytes | None]:
        assert self._context is not None
        try:
            return self._changed(baseline, self._context.limits)
        except UnserializableAttribute as error:
            error.session_id = self._public_id() if self._identity is not None else None
            raise
