"""
The exchange: one request's session, from the token it brought to the headers it takes home.

Protocol-neutral: front doors hand in headers and a path, and write out what :meth:`Exchange.start`
returns. It is also the :class:`SessionContext` of its session.

1. The token: a cookie that verifies and is known, else the URL's. An invalid cookie hides nothing.
2. On a path that the valve filters the session is lazy: untouched, nothing is verified or looked
   up.
3. What changed is committed when the response starts, and again when more may have been written.
4. The cookie is sent when the session changed, never with an id that another request has replaced,
   and not for an id that came in the URL: a link must not log a browser in for good.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass

from replsession.config import Limits
from replsession.errors import SessionError
from replsession.session.context import Identity, Loaded
from replsession.session.expiry import SessionLimits
from replsession.session.session import Session
from replsession.web.cookies import CookieWriter, add_vary, cookie_line
from replsession.web.manager import Manager
from replsession.web.tracking import encode_url

LOGGER = logging.getLogger("replsession")
Headers = list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Site:
    """Where a request arrived, so that URLs of the same site can be told from others."""

    scheme: str
    host: str
    path: str
    """Of the request, percent-encoded, without an id."""


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
    """

    __slots__ = (
        "_came_in_cookie",
        "_came_in_url",
        "_cookies",
        "_headers",
        "_manager",
        "_path",
        "_site",
        "_url_token",
        "is_filtered",
        "is_started",
        "session",
    )

    def __init__(
        self,
        manager: Manager,
        cookies: CookieWriter,
        headers: Iterable[tuple[bytes, bytes]],
        url_token: str | None,
        site: Site | None,
        *,
        path: str,
        is_filtered: bool,
    ) -> None:
        self._manager = manager
        self._cookies = cookies
        self._headers = headers
        self._url_token = url_token
        self._site = site
        self._path = path
        self._came_in_cookie = self._came_in_url = False
        self.is_filtered = is_filtered
        self.is_started = False
        if is_filtered:
            manager.metrics.requests_filtered += 1
            self.session = Session.lazy(self)
        else:
            self.session = Session.attached(self, self.load())

    @property
    def limits(self) -> Limits:
        """Bounds on values and sessions."""
        return self._manager.limits

    def load(self) -> Loaded | None:
        """Find the session that this request is about."""
        line = cookie_line(self._headers)
        loaded = self._manager.find_in_cookies(line, self._cookies.name) if line else None
        self._came_in_cookie = loaded is not None
        if loaded is None and self._url_token is not None:
            loaded = self._manager.find((self._url_token,))
            self._came_in_url = loaded is not None
        return loaded

    def start(self, headers: Headers) -> None:
        """
        Commit, and put into the response's headers what belongs there; before they leave.

        Raises:
            SessionError: something can't be stored; nothing was committed, no header was added.
        """
        session = self.session
        if session.is_untouched:
            self.is_started = True
            return
        secret_hash = self._manager.commit(session) if session.is_dirty else None
        if session.accessed:
            add_vary(headers)
        if session.modified:
            self._add_cookie(headers, secret_hash)
        if (self._came_in_url or session.is_exposed) and not any(
            name.lower() == b"referrer-policy" for name, _ in headers
        ):
            headers.append((b"referrer-policy", b"no-referrer"))
        self.is_started = True
        if self.is_filtered:
            self._note_filtered(secret_hash)

    def proceed(self) -> None:
        """Commit what was written after the start, in a stream, a task or a websocket."""
        session = self.session
        if session.is_dirty:
            if session.would_be_born and not session.is_exposed:
                session.stay_unborn()
                LOGGER.warning(
                    "A session was begun after the response had started, or without one: no id "
                    "can reach the client any more, so it is not stored"
                )
            self._note_filtered(self._manager.commit(session))

    def abandon(self) -> None:
        """The application failed after the response had started: keep what it wrote."""
        try:
            self.proceed()
        except SessionError:
            LOGGER.exception("A session could not be committed after its application had failed")

    def _add_cookie(self, headers: Headers, secret_hash: bytes | None) -> None:
        if self.session.was_lost:
            return
        identity = self.session.committed_identity
        if identity is None:
            if self._came_in_cookie:
                headers.append((b"set-cookie", self._cookies.delete()))
            return
        if secret_hash is None:
            # Nothing was committed that could have told what became of the id meanwhile.
            if not self._manager.is_current(identity):
                return
        elif secret_hash != identity.secret_hash:
            return
        if not self._came_in_url or self.session.has_new_id:
            headers.append((b"set-cookie", self._cookies.set(identity.token)))

    def _note_filtered(self, secret_hash: bytes | None) -> None:
        if self.is_filtered and secret_hash is not None:
            self._manager.metrics.writes_on_filtered_paths += 1
            LOGGER.info(
                "A session was written on a path that the valve filters: %r; the write is kept",
                self._path,
            )

    def new_identity(self) -> Identity:
        """Return the names of a session to be born."""
        return self._manager.new_identity()

    def new_secret(self, identity: Identity) -> Identity:
        """Return the same session with another secret part."""
        return self._manager.new_secret(identity)

    def default_limits(self) -> SessionLimits:
        """Return how long sessions of this application live."""
        return self._manager.session_limits

    def wall_time(self) -> float:
        """Return Unix seconds."""
        return self._manager.wall_time()

    def encode_url(self, url: str, token: str) -> str:
        """Put the token into a URL of this site, unless the client sent it in a cookie."""
        site = self._site
        if site is None or self._came_in_cookie:
            return url
        return encode_url(url, token, scheme=site.scheme, host=site.host, current_path=site.path)

    def undecodable(self, session_id: str | None, name: str, error: Exception) -> None:
        """Take note of an attribute whose bytes can't be read."""
        self._manager.undecodable(session_id, name, error)
