"""
The seal: what a request changed of its session, and what becomes of the session by it.

This is the side of a session that front doors drive. What applications call is in ``session.py``,
what they see in ``snapshot.py``, the attributes themselves in ``mapping.py``.

1. What was assigned or removed is written; what was only read, and can be changed in place, is
   encoded again at the seal and compared. Nothing changed, nothing is written.
2. A session that was cleared, or whose last attribute was removed, ends: users of Starlette's
   sessions log out that way. What is written after that is a new session with a new id. A flash or
   a principal keeps it alive; and the last flash that is popped ends nothing, since another request
   may be flashing.
3. What was changed is forgotten when it was committed, and then only: no seal makes it happen
   twice, and none that fails makes it not happen.
"""

from __future__ import annotations

from replsession.errors import UnserializableAttribute
from replsession.identity import Key, public_id
from replsession.session.change import NO_INCREMENTS, Change
from replsession.session.context import Identity, Loaded
from replsession.session.expiry import cookie_age, encoded_limits
from replsession.session.record import (
    COOKIE_AS_SESSION,
    COOKIE_OF_APPLICATION,
    INTERVAL,
    PRINCIPAL,
    SECRET,
    Values,
)
from replsession.session.snapshot import NO_FLASHES, NO_IDS, NOTHING, Snapshot
from replsession.session.values import mutable


class Sealable(Snapshot):
    """A session that can be sealed into changes of it."""

    _lost: bool = False
    _has_new_id: bool = False
    _unborn: bool = False
    _has_committed: bool = False
    _pending: tuple[Change, ...] = ()
    """What was sealed last, and is not committed."""

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
            increments={n: m for n, m in self._increments.items() if n not in self._written},
            flashed=tuple(self._flashed.values()),
            popped=tuple(self._popped),
        )

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
        self._forget_local()
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
        self.keep_local()
        for name in self._written:
            if mutable(dict.get(self, name)):
                self._watched[name] = None
        self._written = {}
        self._registers = NOTHING
        self._increments = NO_INCREMENTS
        self._flashed, self._popped = NO_FLASHES, NO_IDS
        self._cleared = False
        self._pending = ()

    def keep_local(self) -> None:
        """Keep what was written to attributes that stay on this member; they are in no seal."""
        if self._local is None or self._loaded is None or self._lost:
            return
        names = [name for name in self._written if self._local.covers(name)]
        there = {name: dict.get(self, name) for name in names if dict.__contains__(self, name)}
        if names:
            gone = [name for name in names if name not in there]
            self._local.keep(self._loaded.identity.key, there, gone)

    def _forget_local(self) -> None:
        for change in self._pending:
            if change.destroy and self._local is not None:
                self._local.forget(change.key)

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
