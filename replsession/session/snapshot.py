"""
The snapshot: what a request found of its session, and how it sees it after what it did to it.

1. What other requests write meanwhile is not seen; it merges at commit.
2. What a session keeps of itself (the hash of its secret part, its limits, its principal) is
   written under names that are reserved. A change of it is one entry in ``_registers``.
3. What was counted or flashed is kept as such: what it makes of the record is known at the commit
   alone, since other requests count and flash, too.
4. What needs the world comes in with one :class:`SessionContext` from the front door.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Self

from replsession.identity import Key, public_id
from replsession.session.change import NO_INCREMENTS
from replsession.session.codec import decode, encode
from replsession.session.context import Identity, Loaded, Local, SessionContext
from replsession.session.expiry import SessionLimits, decoded_limits
from replsession.session.flashes import Flash
from replsession.session.mapping import NOT_LOADED, Attributes
from replsession.session.record import INTERVAL, PRINCIPAL

NOTHING: Mapping[str, None] = MappingProxyType({})
NO_FLASHES: Mapping[bytes, Flash] = MappingProxyType({})
NO_IDS: Mapping[bytes, None] = MappingProxyType({})


class Snapshot(Attributes):
    """The attributes of a session, and all else that a request sees of it."""

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
    _born: bool = False
    _exposed: bool = False
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
            if self._local is not None:
                self._put_local(self._local, loaded.identity.key)

    def _put_local(self, local: Local, key: Key) -> None:
        # What members with another configuration have told under such a name is not shown.
        for name in [name for name in dict.keys(self) if local.covers(name)]:
            dict.__delitem__(self, name)
        dict.update(self, local.of(key))

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

    def _is_empty(self) -> bool:
        if dict.__len__(self) or self._messages() or self._principal() is not None:
            return False
        return all(name in self._written for name in self._unreadable)

    def _was_emptied(self) -> bool:
        return bool(self._written) or PRINCIPAL in self._registers

    def _counted(self) -> dict[str, bytes]:
        """Return what this request shows of the counters on which it counted."""
        # What was assigned or removed since begins anew.
        names = [name for name in self._increments if name not in self._written]
        return {name: encode(name, dict.__getitem__(self, name)) for name in names}
