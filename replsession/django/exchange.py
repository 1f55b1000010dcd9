"""
One store's session: found by its key, committed when Django saves.

Who reads and writes cookies is Django, so of the exchange only the inner part is used: the look-up
with its waits, and the commit. Beside it, what of a session is otherwise in Django:

1. A session may be empty: :meth:`SessionStore.create` makes one, ``clear()`` leaves one, and it
   lives until it is deleted.
2. How long it lives may be said in it, under the name ``_session_expiry``.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.contrib.sessions.backends.base import UpdateError

from replsession.channel.waiting import Waiter, is_loop_here
from replsession.concern import NOTHING_ASKED
from replsession.django.configuration import Behind, behind
from replsession.session.change import Change
from replsession.session.context import Identity
from replsession.session.expiry import SessionLimits, encoded_limits
from replsession.session.record import INTERVAL
from replsession.session.session import Session
from replsession.web.exchange import DEFAULT_POLICY, Exchange, Policy
from replsession.web.manager import REMEMBERED_BYTES_MAX, REMEMBERED_MAX
from replsession.web.tracking import looks_like_token

EXPIRY = "_session_expiry"
"""Where ``set_expiry`` puts what it was given. Source: Django's ``SessionBase``."""


class StoredSession(Session):
    """A session that may be empty, and that ends by its ``_session_expiry``."""

    _wanted = False
    """It shall be born, whatever is in it."""

    @property
    def exchange(self) -> StoreExchange:
        """The exchange that this session belongs to."""
        assert isinstance(self._context, StoreExchange)
        return self._context

    def want(self, identity: Identity | None = None) -> None:
        """Be born with the next commit, even without an attribute; perhaps under these names."""
        self._wanted = True
        if identity is not None:
            self._identity = identity

    def clear(self) -> None:
        """Remove every attribute; the session itself stays."""
        self.mark_modified()
        for name in [*dict.keys(self), *self._unreadable]:
            self._written[name] = None
        dict.clear(self)
        self._watched.clear()

    def invalidate(self) -> None:
        """End the session everywhere."""
        super().clear()

    @property
    def is_dirty(self) -> bool:
        """Whether a seal may find something."""
        return self._wanted or super().is_dirty

    def seal(self) -> tuple[Change, ...]:
        """As :meth:`Session.seal`; a new expiry becomes the session's limits."""
        changes = super().seal()
        for change in changes:
            if EXPIRY in change.writes:
                change.writes[INTERVAL] = encoded_limits(self._expiring())
        return changes

    def committed(self) -> None:
        """Take what was sealed last for the new state."""
        super().committed()
        self._wanted = False

    def _expiring(self) -> SessionLimits:
        assert self._context is not None
        limits = self._context.default_limits()
        expiry = dict.get(self, EXPIRY)
        if not expiry:
            return limits
        if not isinstance(expiry, str | datetime):
            return limits._replace(idle_s=max(expiry, 0))
        created_at = self.created_at
        lifetime_s = max(_unix_time(expiry) - (created_at or self._context.wall_time()), 0)
        if limits.lifetime_s is not None:
            lifetime_s = min(lifetime_s, limits.lifetime_s)
        return SessionLimits(None, lifetime_s)

    def _is_empty(self) -> bool:
        is_kept = self._wanted or self._loaded is not None
        return (self._cleared or not is_kept) and super()._is_empty()

    def _names(self) -> Identity | None:
        self._read()
        if self._identity is None and self._context is not None:
            if self._wanted or not super()._is_empty():
                self._identity = self._context.new_identity()
        return self._identity


def _unix_time(expiry: str | datetime) -> float:
    # One without a time zone is the system's, as that of Django without USE_TZ.
    moment = datetime.fromisoformat(expiry) if isinstance(expiry, str) else expiry
    return moment.timestamp()


class StoreExchange(Exchange):
    """
    One session of a store.

    Args:
        token: The session's key, perhaps with what the client has seen of it; None: a new session.
        path: Of the request, for the log; empty without one.
        is_filtered: The valve keeps the request away from session work.
        policy: How its commits are acknowledged, and whether it may be stale.
    """

    __slots__ = ("_behind", "age_s", "is_replaced")

    session: StoredSession

    def __init__(
        self,
        token: str | None,
        *,
        path: str = "",
        is_filtered: bool = False,
        policy: Policy = DEFAULT_POLICY,
    ) -> None:
        self._behind: Behind = behind()
        application, cookies = self._behind.application, self._behind.cookies
        application.channel.ensure_started()
        self.age_s: float | None = None
        self.is_replaced = False
        """Another request has given the session another id: this one must not reach a client."""
        super().__init__(
            application.manager,
            cookies,
            _as_header(cookies.name, token),
            None,
            None,
            path=path,
            is_filtered=False,
            policy=policy,
            session_class=StoredSession,
        )
        self.is_filtered = is_filtered

    @property
    def is_found(self) -> bool:
        """Whether there is such a session."""
        return self.session.committed_identity is not None

    def settle(self) -> None:
        """Wait in this thread until it is known what there is."""
        while (waiter := self.waiter) is not None:
            wait_here(waiter)
            self.go_on()

    async def asettle(self) -> None:
        """The same on a loop."""
        while (waiter := self.waiter) is not None:
            await waiter.wait()
            self.go_on()

    def default_limits(self) -> SessionLimits:
        """Return how long sessions live; the store may have a say."""
        limits = super().default_limits()
        if self.age_s is None or not self._behind.follows_cookie_age:
            return limits
        return limits._replace(idle_s=max(self.age_s, 0))

    def keep(self) -> Waiter | None:
        """
        Commit what was changed.

        Returns:
            What must be waited for before the response leaves.

        Raises:
            UpdateError: the session was ended meanwhile.
        """
        asked = NOTHING_ASKED if self.is_started else self._policy.asked
        committed = self._commit(asked) if self.session.is_dirty else None
        self._note_filtered(committed)
        identity = self.session.committed_identity
        if identity is None or self.session.was_lost:
            raise UpdateError
        if committed is None:
            self.is_replaced = not self._manager.is_current(identity)
            return None
        self.is_replaced = committed.secret_hash != identity.secret_hash
        return committed.waiter

    def end(self) -> Waiter | None:
        """End the session, if there is one."""
        self.session.invalidate()
        committed = self._commit(self._policy.asked)
        return None if committed is None else committed.waiter

    def seen(self) -> str | None:
        """Return what the client has seen now, for its cookie; None: nothing is to be said."""
        identity = self.session.committed_identity
        seen = self._seen or self._stale or self._news
        if identity is None or seen is None or self.session.was_lost or self.is_replaced:
            return None
        if self._seen is None and not self._manager.is_current(identity):
            return None
        return self._manager.token(identity, seen)[len(identity.token) + 1 :]

    def __repr__(self) -> str:
        # The token is a credential.
        return f"<{type(self).__name__}>"


def wait_here(waiter: Waiter) -> None:
    """Wait in this thread, unless it runs a loop, which must not be held up."""
    if not is_loop_here():
        waiter.wait_blocking()


def _as_header(name: bytes, token: str | None) -> tuple[tuple[bytes, bytes], ...]:
    """Return what a browser would send: the manager remembers that, once it has verified."""
    # What Django has made of a cookie may have characters that would end one.
    value = b"" if token is None else token.encode("latin-1", "replace")
    return ((b"cookie", name + b"=" + value),) if looks_like_token(value) else ()


def token_of(key: str, seen: str | None) -> str:
    """
    Return the token that two cookies make, or the key alone where they do not belong together.

    Args:
        key: Value of the session's cookie.
        seen: Value of the other.
    """
    if not seen:
        return key
    known = behind().tokens
    token = known.get((key, seen))
    if token is None:
        whole = f"{key}.{seen}"
        token = whole if behind().application.manager.identity(whole) else key
        if len(whole) <= REMEMBERED_BYTES_MAX:
            if len(known) >= REMEMBERED_MAX:
                known.clear()
            known[key, seen] = token
    return token


def new_identity() -> Identity:
    """Return the names of a session that nobody has."""
    return behind().application.manager.new_identity()


def identity_of(key: Any) -> Identity | None:
    """Return the names that a key stands for, if it was signed here."""
    return behind().application.manager.identity(key) if isinstance(key, str) else None
