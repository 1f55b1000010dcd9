"""
The seal: what a request changed of its session, and what becomes of the session by it.

This is the side of a session that front doors drive. What applications call is in ``session.py``,
the attributes themselves in ``mapping.py``.

1. A session is a snapshot: what other requests write meanwhile is not seen, and merges at commit.
2. What was assigned or removed is written; what was only read, and can be changed in place, is
   encoded again at the seal and compared. Nothing changed, nothing is written.
3. A session that was cleared, or whose last attribute was removed, ends: users of Starlette's
   sessions log out that way. What is written after that is a new session with a new id. A flash or
   a principal keeps it alive; and the last flash that is popped ends nothing, since another request
   may be flashing.
4. What a session keeps of itself (the hash of its secret part, its limits, its principal) is
   written under names that are reserved. A change of it is one entry in ``_registers``; the seal
   adds it to the rest.
5. What was counted or flashed is handed on as such: what it makes of the record is known at the
   commit alone, since other requests count and flash, too. It is forgotten when it was committed,
   and then only, so that no seal makes it happen twice.
6. What needs the world comes in with one :class:`SessionContext` from the front door.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Self

from replsession.errors import UnserializableAttribute
from replsession.identity import Key, public_id
from replsession.session.change import NO_INCREMENTS, Change
from replsession.session.codec import decode, encode
from replsession.session.context import Identity, Loaded, SessionContext
from replsession.session.expiry import (
    SessionLimits,
    cookie_age,
    decoded_limits,
    encoded_limits,
)
from replsession.session.flashes import Flash
from replsession.session.mapping import NOT_LOADED, Attributes
from replsession.session.record import (
    COOKIE_AS_SESSION,
    COOKIE_OF_APPLICATION,
    INTERVAL,
    PRINCIPAL,
    SECRET,
    Values,
)
from replsession.session.values import mutable

NOTHING: Mapping[str, None] = MappingProxyType({})
NO_FLASHES: Mapping[bytes, Flash] = MappingProxyType({})
NO_IDS: Mapping[bytes, None] = MappingProxyType({})


class Sealable(Attributes):
    """Attributes that belong to a session, and that can be sealed into changes of it."""

    _context: SessionContext | None = None
    _loaded: Loaded | None = None
    """What the request found, or committed last."""
    _identity: Identity | None = None
    _registers: Mapping[str, bytes | None] = NOTHING
    """What changed under reserved names since the last commit; replaced, never changed."""
    _increments: Mapping[str, int] = NO_INCREMENTS
    """What was counted since the last commit; does not count for what was assigned since then."""
    _flashes: Mapping[bytes, Flash] | None = None
    """Messages as this request sees them; None: as they were found, nobody has asked."""
    _flashed: Mapping[bytes, Flash] = NO_FLASHES
    """Messages that are new since the last commit."""
    _popped: Mapping[bytes, None] = NO_IDS
    """Those taken away since the last commit that were there before."""
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
        self._increments = NO_INCREMENTS
        self._flashes = self._flashed = NO_FLASHES
        self._popped = NO_IDS

    def _existing(self) -> Loaded | None:
        """Return what the request found or committed, unless it was cleared since."""
        self._read()
        return None if self._cleared else self._loaded

    def _names(self) -> Identity | None:
        self._read()
        is_empty = self._is_empty()
        if is_empty and self._was_emptied():
            # The commit will end it.
            return None
        if self._identity is None and self._context is not None and not is_empty:
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

    def _principal(self) -> str | None:
        if PRINCIPAL in self._registers:
            encoded = self._registers[PRINCIPAL]
            return None if encoded is None else str(decode(encoded))
        existing = self._existing()
        return None if existing is None else existing.principal

    def _messages(self) -> Mapping[bytes, Flash]:
        """Return the flashes by their ids, the oldest first."""
        existing = self._existing()
        if self._flashes is None:
            found = () if existing is None else existing.values.flashes
            self._flashes = {flash.id: flash for flash in found}
        return self._flashes

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
        elif self._cleared or (is_empty and self._was_emptied()):
            end = Change(loaded.identity.key, {}, destroy=True)
            self._pending = (end,) if is_empty else (end, self._birth())
        else:
            self._catch_up()
            writes = {**self._writes(self._baseline), **self._registers}
            change = self._change(loaded.identity.key, writes)
            self._pending = (change,) if _says_something(change) else ()
        return self._pending

    def _is_empty(self) -> bool:
        if dict.__len__(self) or self._messages() or self._principal() is not None:
            return False
        return all(name in self._written for name in self._unreadable)

    def _was_emptied(self) -> bool:
        return bool(self._written) or PRINCIPAL in self._registers

    def _birth(self) -> Change:
        writes = self._writes({})
        identity = self._names()
        assert identity is not None
        writes[INTERVAL] = encoded_limits(self._session_limits())
        writes[SECRET] = identity.secret_hash
        principal = self._registers.get(PRINCIPAL)
        if principal is not None:
            writes[PRINCIPAL] = principal
        return self._change(identity.key, writes)._replace(birth=True)

    def _change(self, key: Key, writes: dict[str, bytes | None]) -> Change:
        return Change(
            key,
            writes,
            increments={name: self._increments[name] for name in self._counted()},
            flashed=tuple(self._flashed.values()),
            popped=tuple(self._popped),
        )

    def _counted(self) -> dict[str, bytes]:
        """Return what this request shows of the counters on which it counted."""
        # What was assigned or removed since begins anew.
        names = [name for name in self._increments if name not in self._written]
        return {name: encode(name, dict.__getitem__(self, name)) for name in names}

    @property
    def is_dirty(self) -> bool:
        """Whether a seal may find something."""
        return bool(
            self._written
            or self._watched
            or self._registers
            or self._increments
            or self._flashed
            or self._popped
            or self._cleared
        )

    @property
    def would_be_born(self) -> bool:
        """Whether the next seal would begin a session, since there is none or it was ended."""
        is_none = self._loaded is None or self._cleared
        return is_none and not self._unborn and not self._is_empty()

    @property
    def has_own_expiry(self) -> bool:
        """Whether the session says itself for how long a browser keeps its cookie."""
        loaded = self._loaded
        return loaded is not None and loaded.limits.cookie != COOKIE_OF_APPLICATION

    @property
    def is_renewed(self) -> bool:
        """Whether the cookie must be sent at each use, or the browser would lose it too early."""
        loaded = self._loaded
        if loaded is None or loaded.limits.cookie != COOKIE_AS_SESSION:
            return False
        return loaded.limits.idle_s is not None and self.accessed

    def cookie_age(self) -> int | None:
        """Return for how many seconds a browser keeps the cookie; None: until it is closed."""
        assert self._loaded is not None and self._context is not None
        return cookie_age(self._loaded.limits, self._loaded.created_at, self._context.wall_time())

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
            if self._increments:
                self._behind = {**change.writes, **self._counted()}
            if change.birth or self._registers:
                self._adopt(change)
        for name in self._written:
            if mutable(dict.get(self, name)):
                self._watched[name] = None
        self._written = {}
        self._registers = NOTHING
        self._increments = NO_INCREMENTS
        self._flashed, self._popped = NO_FLASHES, NO_IDS
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
        limits, principal = self._session_limits(), self._principal()
        self._has_new_id = self._has_new_id or SECRET in change.writes
        if self._loaded is None:
            now = self._context.wall_time()
            self._born = True
            values = Values(self._baseline)
            self._loaded = Loaded(self._identity, values, now, now, limits, principal=principal)
        else:
            self._loaded = self._loaded._replace(
                identity=self._identity, limits=limits, principal=principal
            )

    def _writes(self, baseline: dict[str, bytes]) -> dict[str, bytes | None]:
        assert self._context is not None
        more = sum(flash.size for flash in self._messages().values()) if self._flashed else 0
        try:
            return self._changed(baseline, self._context.limits, self._counted(), more)
        except UnserializableAttribute as error:
            error.session_id = self._public_id() if self._identity is not None else None
            raise


def _says_something(change: Change) -> bool:
    return bool(change.writes or change.increments or change.flashed or change.popped)
