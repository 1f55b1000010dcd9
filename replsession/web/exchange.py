"""
The exchange: one request's session, from the token it brought to the headers it takes home.

Protocol-neutral: front doors hand in headers and a path, and write out what :meth:`Exchange.start`
returns. It is also the :class:`SessionContext` of its session.

1. The token: a cookie that verifies and is known, else the URL's. An invalid cookie hides nothing.
2. On a path that the valve filters the session is lazy: untouched, nothing is verified or looked
   up.
3. What changed is committed when the response starts, and again when more may have been written.
4. The cookie is sent when the session changed, or when it was read and shows more than the client
   had seen; never with an id that another request has replaced, and not for an id that came in the
   URL: a link must not log a browser in for good.
5. The token that goes back says what the client has seen now. After a stale answer it replaces the
   one that asked for more.
6. Who waits is the front door: it asks :attr:`Exchange.waiter` and calls :meth:`Exchange.go_on`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from replsession.channel.member import Committed, StateMissing
from replsession.channel.waiting import Waiter, is_loop_here
from replsession.concern import NOTHING_ASKED, Asked, Concern, check_concern
from replsession.config import Limits
from replsession.errors import ReplicationTimeout, SessionError
from replsession.session.context import Identity, Loaded
from replsession.session.expiry import SessionLimits
from replsession.session.session import Session
from replsession.session.stamp import NOTHING_SEEN, Seen
from replsession.web import remarks
from replsession.web.cookies import Cookies, add_vary, cookie_line
from replsession.web.manager import Manager, Pending
from replsession.web.settings import UNSET
from replsession.web.tracking import Site as Site  # offered from here
from replsession.web.tracking import encode_url

Headers = list[tuple[bytes, bytes]]


class Unavailable(Exception):
    """The request must be answered with 503: its message says why, for people."""


@dataclass(frozen=True, slots=True)
class Policy:
    """
    What a front door was told about waiting.

    Args:
        asked: Write concern of its responses.
        on_shortfall: ``error`` answers 503, ``warn`` answers and logs.
        stale: ``serve`` what is here, or ``error``: 503.
    """

    asked: Asked = NOTHING_ASKED
    on_shortfall: str = "error"
    stale: str = "serve"


DEFAULT_POLICY = Policy()


class Exchange:
    """
    One request.

    Args:
        manager: The application's sessions.
        cookies: Writes the cookie.
        headers: Of the request, names in lower case.
        url_token: What stood behind ``;jsessionid=``; not verified.
        site: Where the request arrived; None: URLs are not rewritten.
        path: Of the request, decoded, without an id.
        is_filtered: The valve keeps this request away from session work.
        session_class: What the application gets, in the habits of its framework.
    """

    __slots__ = (
        "_came_in_cookie",
        "_came_in_url",
        "_cookies",
        "_headers",
        "_held",
        "_manager",
        "_news",
        "_path",
        "_pending",
        "_policy",
        "_printed",
        "_seen",
        "_session_class",
        "_site",
        "_stale",
        "_url_token",
        "is_filtered",
        "is_started",
        "session",
        "was_here",
    )

    def __init__(
        self,
        manager: Manager,
        cookies: Cookies,
        headers: Iterable[tuple[bytes, bytes]],
        url_token: str | None,
        site: Site | None,
        *,
        path: str,
        is_filtered: bool,
        policy: Policy = DEFAULT_POLICY,
        session_class: type[Session] = Session,
    ) -> None:
        self._manager = manager
        self._cookies = cookies
        self._headers = headers
        self._url_token = url_token
        self._site = site
        self._path = path
        self._policy = policy
        self._session_class = session_class
        self._came_in_cookie = self._came_in_url = False
        self._printed: str | None = None
        self._pending: Pending | None = None
        self._seen: Seen | None = None
        self._stale: Seen | None = None
        self._news: Seen | None = None
        self._held: Seen | None = None
        self.is_filtered = is_filtered
        self.is_started = False
        self.was_here: bool | None = None
        if is_filtered:
            manager.metrics.requests_filtered += 1
            self.session = session_class.lazy(self)
        else:
            loaded = self._find()
            if self._pending is None:
                self.session = session_class.attached(self, loaded)

    @property
    def limits(self) -> Limits:
        """Bounds on values and sessions."""
        return self._manager.limits

    @property
    def waiter(self) -> Waiter | None:
        """What must be waited for before the application runs; then :meth:`go_on`."""
        return None if self._pending is None else self._pending.waiter

    def go_on(self) -> None:
        """
        The wait is over: the session is there, or there is another wait.

        Raises:
            Unavailable: what is here must not be served.
        """
        loaded = self._found_at_last()
        if self._pending is None:
            self.session = self._session_class.attached(self, loaded)
            if self._stale is not None and self._policy.stale == "error":
                raise Unavailable("this member does not have the newest state of your session")

    def refusal_headers(self) -> Headers:
        """Return what a refusal of stale state carries, so that the next try is not refused."""
        headers: Headers = []
        if self._stale is not None and self._came_in_cookie:
            self._add_cookie(headers, None)
        return headers

    def load(self) -> Loaded | None:
        """Find the session on a filtered path, when it is first touched."""
        loaded = self._find()
        while self._pending is not None:
            if not is_loop_here():
                self._pending.waiter.wait_blocking()
            # A loop can't be held up in the middle of a line of the application.
            loaded = self._found_at_last()
        return loaded

    def _find(self) -> Loaded | None:
        line = cookie_line(self._headers)
        found = self._manager.find_in_cookies(line, self._cookies.name) if line else None
        return self._found(found, in_url=False)

    def _found(self, found: Loaded | Pending | None, *, in_url: bool) -> Loaded | None:
        if found is None and not in_url and self._url_token is not None:
            found, in_url = self._manager.find((self._url_token,)), True
        if isinstance(found, Pending):
            self._pending, self._came_in_url = found, in_url
            return None
        self._came_in_cookie = found is not None and not in_url
        self._came_in_url = found is not None and in_url
        if found is not None:
            # Also if an earlier token of the request came to nothing.
            self._stale, self._news, self._held = found.stale, found.news, found.held
            self.was_here = found.was_here
        return found

    def _found_at_last(self) -> Loaded | None:
        pending, in_url = self._pending, self._came_in_url
        self._pending = None
        assert pending is not None
        lookup = pending.waiter.lookup
        try:
            found = self._manager.found_at_last(pending)
            if found is None and not lookup.is_fresh and not lookup.is_certain:
                # Whoever knows this session has not answered.
                self._stale = NOTHING_SEEN
            return self._found(found, in_url=in_url)
        except StateMissing:
            raise Unavailable("this member is still receiving the sessions of the others") from None

    def start(self, headers: Headers, *, renews: bool = False) -> Waiter | None:
        """
        Commit, and put into the response's headers what belongs there; before they leave.
        With *renews* the cookie is sent in any case, so that the browser keeps it longer.

        Returns:
            What must be waited for before they leave; then :meth:`shortfall`.

        Raises:
            SessionError: something can't be stored; nothing was committed, no header was added.
        """
        session = self.session
        if session.is_untouched and self._stale is None:
            self.is_started = True
            return None
        committed = None
        if session.is_dirty or self._printed is not None:
            committed = self._commit(self._policy.asked)
        if session.accessed:
            add_vary(headers)
        shows_news = self._news is not None and session.accessed
        # A commit that only stands behind a printed token is nothing to remember.
        has_changed = session.changed_key is not None or session.modified
        renews = renews or session.is_renewed
        if has_changed or self._stale is not None or shows_news or renews:
            self._add_cookie(headers, committed)
        if (self._came_in_url or session.is_exposed) and not any(
            name.lower() == b"referrer-policy" for name, _ in headers
        ):
            headers.append((b"referrer-policy", b"no-referrer"))
        self.is_started = True
        if self.is_filtered:
            self._note_filtered(committed)
        return None if committed is None else committed.waiter

    def _commit(self, asked: Asked) -> Committed | None:
        is_printed = self._printed is not None
        committed = self._manager.commit(self.session, asked, is_printed=is_printed)
        if committed is not None:
            self._printed = None
            self._seen = Seen(committed.seen, 0)
        return committed

    def shortfall(self, waiter: Waiter) -> ReplicationTimeout | None:
        """
        Return what must be answered instead, when the wait is over.

        None: enough members hold the write, or the policy is to warn, which is done here.
        """
        error = _missed(waiter)
        if error is None:
            return None
        remarks.too_few_hold_it(self._manager.repeats, self._path, error)
        return error if self._policy.on_shortfall == "error" else None

    def proceed(self) -> None:
        """Commit what was written after the start, in a stream, a task or a websocket."""
        session = self.session
        if session.is_dirty or self._printed is not None:
            if session.would_be_born and not session.is_exposed:
                session.stay_unborn()
                remarks.begun_too_late(self._manager.repeats, self._path)
            self._note_filtered(self._commit(NOTHING_ASKED))

    def abandon(self) -> None:
        """The application failed after the response had started: keep what it wrote."""
        try:
            self.proceed()
        except SessionError:
            self.not_committed()

    def not_committed(self) -> None:
        """Say in the log what can be told to nobody else; within an ``except``."""
        remarks.not_committed(self._manager.repeats)

    def _add_cookie(self, headers: Headers, committed: Committed | None) -> None:
        if self.session.was_lost:
            return
        identity = self.session.committed_identity
        if identity is None:
            if self._came_in_cookie:
                headers.append((b"set-cookie", self._cookies.delete()))
            return
        if committed is None:
            # Nothing was committed now that could have told what became of the id meanwhile.
            if not self._manager.is_current(identity):
                return
        elif committed.secret_hash != identity.secret_hash:
            return
        if not self._came_in_url or self.session.has_new_id:
            # With nothing new it says again what its client has seen, or it would be forgotten.
            seen = self._seen or self._stale or self._news or self._held
            token = identity.token if seen is None else self._manager.token(identity, seen)
            kept = self.session.cookie_age() if self.session.has_own_expiry else UNSET
            headers.append((b"set-cookie", self._cookies.set(token, kept)))

    def _note_filtered(self, committed: Committed | None) -> None:
        if self.is_filtered and committed is not None:
            self._manager.metrics.writes_on_filtered_paths += 1
            remarks.written_on_filtered_path(self._manager.repeats, self._path)

    @property
    def is_stale(self) -> bool:
        """Whether the client has seen more than what was found here."""
        return self._stale is not None

    async def commit(self, session: Session, concern: Concern | None) -> None:
        """Commit, and wait for the concern; see :meth:`Session.commit`."""
        waiter = self._committed(session, concern)
        if waiter is not None:
            await waiter.wait()
            if (error := _missed(waiter)) is not None:
                raise error

    def commit_blocking(self, session: Session, concern: Concern | None) -> None:
        """The same in a thread; see :meth:`Session.commit_blocking`."""
        if is_loop_here():
            raise SessionError("commit_blocking: this thread runs a loop; use await commit()")
        waiter = self._committed(session, concern)
        if waiter is not None:
            waiter.wait_blocking()
            if (error := _missed(waiter)) is not None:
                raise error

    def _committed(self, session: Session, concern: Concern | None) -> Waiter | None:
        default = self._policy.asked
        wanted = default.concern if concern is None else concern
        asked = check_concern(wanted, default.timeout_s, default.expected_members)
        committed = self._commit(asked) if session.is_dirty else None
        if committed is not None:
            return committed.waiter
        key = session.changed_key
        if key is None or asked.concern == "async":
            return None
        # It was committed before, with another concern.
        return self._manager.channel.acknowledgement(key, asked)

    def new_identity(self) -> Identity:
        """Return the names of a session to be born."""
        return self._manager.new_identity()

    def new_secret(self, identity: Identity) -> Identity:
        """Return the same session with another secret part."""
        return self._manager.new_secret(identity)

    def unique(self) -> bytes:
        """Return 8 bytes that were never returned before, to anybody."""
        return self._manager.unique()

    def default_limits(self) -> SessionLimits:
        """Return how long sessions of this application live."""
        return self._manager.session_limits

    def wall_time(self) -> float:
        """Return Unix seconds."""
        return self._manager.wall_time()

    def printed_token(self, identity: Identity) -> str:
        """Return a token that covers the commit of this request to come; one for all its links."""
        if self._printed is None or not self._printed.startswith(identity.token):
            self._printed = self._manager.printed_token(identity)
        return self._printed

    def encode_url(self, url: str, identity: Identity) -> str:
        """Put the token into a URL of this site, unless the client sent it in a cookie."""
        site = self._site
        if site is None or self._came_in_cookie:
            return url
        token = self.printed_token(identity)
        return encode_url(url, token, scheme=site.scheme, host=site.host, current_path=site.path)

    def undecodable(self, session_id: str | None, name: str, error: Exception) -> None:
        """Take note of an attribute whose bytes can't be read."""
        self._manager.undecodable(session_id, name, error)


def _missed(waiter: Waiter) -> ReplicationTimeout | None:
    ticket = waiter.ticket
    if ticket.is_met:
        return None
    asked = ticket.asked.concern
    return ReplicationTimeout(asked, ticket.needed, ticket.acknowledged, ticket.missing)
