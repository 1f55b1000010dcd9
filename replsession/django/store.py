"""
The session engine: Django's ``SessionStore``, over sessions that are merged by attribute.

1. ``session_key`` is the signed id. One that we did not sign costs nothing and asks nobody; one
   that is unknown becomes None when it is loaded. No client can choose one.
2. What counts as modified is what changed, in place as well: the session is sealed and looked at.
3. ``cycle_key`` gives the same session another id, so that no concurrent write is lost by a login.
4. A session that was ended elsewhere is never brought back: saving it raises ``UpdateError``.
5. Everything is in memory. What may have to be waited for is the look-up: ``load`` waits in its
   thread, ``aload`` on its loop.
"""

from __future__ import annotations

from django.conf import settings
from django.contrib.sessions.backends.base import CreateError, SessionBase, UpdateError

from replsession.channel.waiting import Waiter
from replsession.django.arrival import taken
from replsession.django.exchange import (
    StoredSession,
    StoreExchange,
    identity_of,
    new_identity,
)
from replsession.django.offered import Offered
from replsession.errors import ReplicationTimeout, SessionError
from replsession.session.change import Change

_UNSEALABLE = (None,)


class SessionStore(SessionBase):  # type: ignore[misc]
    """
    A session in the habits of Django.

    Beside Django's names: ``id`` (safe to print), ``is_new``, ``created_at``, ``last_accessed_at``,
    ``max_inactive_interval``, ``stale``, ``principal``, ``increment``, ``flash`` and its like,
    ``commit`` and ``commit_blocking`` of :class:`replsession.Session`, ``rotate_id`` and
    ``invalidate``.

    Args:
        session_key: What the cookie carries; None for a new session.
    """

    id = Offered()
    is_new = Offered()
    created_at = Offered()
    last_accessed_at = Offered()
    max_inactive_interval = Offered()
    stale = Offered()
    principal = Offered()
    increment = Offered()
    flash = Offered()
    pop_flash = Offered()
    peek_flash = Offered()
    commit = Offered()
    commit_blocking = Offered()

    def __init__(self, session_key: str | None = None) -> None:
        self._arrival = taken(session_key)
        self._marked = False
        self._passed_over: tuple[Change | None, ...] = ()
        """What had changed when somebody said that nothing was modified."""
        self._is_started = False
        self.waiters: list[Waiter] = []
        """What the response has to wait for."""
        self.has_ended = False
        """Whether this request ended a session."""
        super().__init__(session_key)

    @property
    def modified(self) -> bool:
        """Whether there is something to save: what was marked, or what changed, also in place."""
        return self._marked or self._changes() != self._passed_over

    @modified.setter
    def modified(self, value: bool) -> None:
        self._marked = bool(value)
        self._passed_over = () if value else self._changes()

    def _changes(self) -> tuple[Change | None, ...]:
        session = self._cached
        if session is None or not session.is_dirty:
            return ()
        try:
            return session.seal()
        except SessionError:
            # Saving it will say what is wrong.
            return _UNSEALABLE

    @property
    def _cached(self) -> StoredSession | None:
        cached = self.__dict__.get("_session_cache")
        return cached if isinstance(cached, StoredSession) else None

    def _get_session(self, no_load: bool = False) -> StoredSession:
        self.accessed = True
        session = self._cached
        if session is None:
            is_new = no_load or self.session_key is None
            session = self._session_cache = self._unborn() if is_new else self.load()
        return session

    async def _aget_session(self, no_load: bool = False) -> StoredSession:
        self.accessed = True
        session = self._cached
        if session is None:
            is_new = no_load or self.session_key is None
            session = self._session_cache = self._unborn() if is_new else await self.aload()
        return session

    _session = property(_get_session)

    def _unborn(self) -> StoredSession:
        return self._adopted(self._opened(None)).session

    def _opened(self, key: str | None) -> StoreExchange:
        arrival = self._arrival
        if arrival is None:
            return StoreExchange(key)
        return arrival.open(arrival.token if key is not None and key == arrival.key else key)

    def _adopted(self, exchange: StoreExchange) -> StoreExchange:
        exchange.is_started = self._is_started
        exchange.age_s = self.get_session_cookie_age()
        return exchange

    def _found(self, exchange: StoreExchange) -> StoredSession:
        identity = self._adopted(exchange).session.committed_identity
        self._session_key = None if identity is None else identity.token
        return exchange.session

    def load(self) -> StoredSession:
        """Return the session of the key; a new one, and no key any more, if there is none."""
        exchange = self._opened(self.session_key)
        exchange.settle()
        return self._found(exchange)

    async def aload(self) -> StoredSession:
        """As :meth:`load`, on a loop."""
        exchange = self._opened(self.session_key)
        await exchange.asettle()
        return self._found(exchange)

    def is_empty(self) -> bool:
        """Return True when there is no key, and nothing that a session would be born for."""
        if settings.SESSION_SAVE_EVERY_REQUEST and self._session_key:
            # Else each request with an unknown id would be given an empty session.
            self._get_session()
        session = self._cached
        return not self._has_key() and (session is None or not session.would_be_born)

    def clear(self) -> None:
        """Remove every attribute; the session stays."""
        self._get_session().clear()
        self._marked = True

    def exists(self, session_key: str | None) -> bool:
        """Tell whether there is a session of this key; asking counts as an access."""
        if not session_key:
            return False
        exchange = StoreExchange(session_key)
        exchange.settle()
        return exchange.is_found

    async def aexists(self, session_key: str | None) -> bool:
        """As :meth:`exists`, on a loop."""
        if not session_key:
            return False
        exchange = StoreExchange(session_key)
        await exchange.asettle()
        return exchange.is_found

    def _get_new_session_key(self) -> str:
        return new_identity().token

    async def _aget_new_session_key(self) -> str:
        return new_identity().token

    def create(self) -> None:
        """Begin a session under a new key, with what is in the cache; it exists at once."""
        if self._is_started:
            raise SessionError("create: the response has started, so no id can be sent")
        session = self._get_session(no_load=True)
        exchange = session.exchange
        if exchange.is_found or session.was_lost:
            kept, session = dict(session), self._unborn()
            session.update(kept)
        session.want()
        self._session_cache = session
        self._keep(session)
        self._marked = True

    async def acreate(self) -> None:
        """As :meth:`create`, which waits for nothing."""
        self.create()

    def save(self, must_create: bool = False) -> None:
        """
        Commit what changed.

        Raises:
            UpdateError: the session was ended meanwhile.
            CreateError: *must_create*, and the key is taken, or not one of ours.
        """
        if not self._has_key():
            self.create()
            return
        session = self._get_session(no_load=must_create)
        if must_create:
            self._name(session, self.exists(self.session_key))
        self._save(session)

    async def asave(self, must_create: bool = False) -> None:
        """As :meth:`save`, on a loop."""
        if not self._has_key():
            self.create()
            return
        session = await self._aget_session(no_load=must_create)
        if must_create:
            self._name(session, await self.aexists(self.session_key))
        self._save(session)

    def _has_key(self) -> bool:
        session = self._cached
        if self.session_key is None and session is not None:
            identity = session.committed_identity
            if identity is not None:
                # Born by a commit() of the application.
                self._session_key = identity.token
        return self.session_key is not None

    def _name(self, session: StoredSession, is_taken: bool) -> None:
        identity = identity_of(self.session_key)
        if is_taken or identity is None or session.exchange.is_found:
            raise CreateError
        session.want(identity)

    def _save(self, session: StoredSession) -> None:
        if self.session_key is None:
            # There was a key, but nothing behind it.
            raise UpdateError
        try:
            self._keep(session)
        except UpdateError:
            if session.is_new and not session.exchange.is_found:
                raise CreateError from None
            raise

    def _keep(self, session: StoredSession) -> None:
        exchange = session.exchange
        waiter = exchange.keep()
        if waiter is not None:
            self.waiters.append(waiter)
        if exchange.is_replaced and self._arrival is None:
            # What was written is kept. Without our middleware only an error keeps Django from
            # giving the browser an id that is dead.
            raise UpdateError
        identity = session.committed_identity
        assert identity is not None
        self._session_key = identity.token

    def delete(self, session_key: str | None = None) -> None:
        """End the session of a key, or of this store; nothing happens if there is none."""
        key = self.session_key if session_key is None else session_key
        if key:
            exchange = self._ending(key)
            exchange.settle()
            self._end(exchange)

    async def adelete(self, session_key: str | None = None) -> None:
        """As :meth:`delete`, on a loop."""
        key = self.session_key if session_key is None else session_key
        if key:
            exchange = self._ending(key)
            await exchange.asettle()
            self._end(exchange)

    def _ending(self, key: str) -> StoreExchange:
        # Of its own: what was read stays readable, as with Django's engines.
        return StoreExchange(key) if self._arrival is None else self._arrival.another(key)

    def _end(self, exchange: StoreExchange) -> None:
        if exchange.is_found:
            self.has_ended = True
            waiter = exchange.end()
            if waiter is not None:
                self.waiters.append(waiter)

    def flush(self) -> None:
        """End the session; what is written afterwards is a new one with a new key."""
        self._flush(self._get_session())

    async def aflush(self) -> None:
        """As :meth:`flush`, on a loop."""
        self._flush(await self._aget_session())

    def _flush(self, session: StoredSession) -> None:
        # By what was loaded, not by the key: another request may have given it another id.
        self._end(session.exchange)
        self._session_key = None
        self._session_cache = self._unborn()
        self._marked = True

    def cycle_key(self) -> None:
        """Give the session another key; the old one is dead, and everything in it stays."""
        self._cycle(self._get_session())

    async def acycle_key(self) -> None:
        """As :meth:`cycle_key`, on a loop."""
        self._cycle(await self._aget_session())

    def _cycle(self, session: StoredSession) -> None:
        if not session.exchange.is_found:
            self._session_key = None
            self.create()
            return
        session.rotate_id()
        try:
            self._keep(session)
        except UpdateError:
            # It was ended elsewhere, with all that was in it: who logs in begins with nothing.
            self._session_key = None
            self._session_cache = self._unborn()
            self.create()
        self._marked = True

    rotate_id = cycle_key
    arotate_id = acycle_key
    invalidate = flush
    ainvalidate = aflush

    def response_started(self) -> None:
        """No new key can reach the client any more."""
        self._is_started = True
        if self._cached is not None:
            self._cached.exchange.is_started = True

    def response_closed(self) -> None:
        """Keep what was written while the response was streamed."""
        session = self._cached
        if session is not None and self._changes() != self._passed_over:
            try:
                session.exchange.proceed()
            except SessionError:
                # Django lets nobody hear of it.
                session.exchange.not_committed()

    def seen(self) -> str | None:
        """Return what the client has seen now, if it was looked at and there is something new."""
        return None if self._cached is None else self._cached.exchange.seen()

    def shortfall(self) -> ReplicationTimeout | None:
        """Return what must be answered instead, when all waits are over; None: all is well."""
        for waiter in self.waiters:
            error = self._get_session().exchange.shortfall(waiter)
            if error is not None:
                return error
        return None

    @property
    def is_replaced(self) -> bool:
        """Whether another request has given the session another key."""
        return self._cached is not None and self._cached.exchange.is_replaced

    @classmethod
    def clear_expired(cls) -> None:
        """Do nothing: sessions that are over go by themselves, on every member."""

    @classmethod
    async def aclear_expired(cls) -> None:
        """Do nothing, as :meth:`clear_expired`."""
