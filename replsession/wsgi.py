"""
The front door for WSGI: the same middleware as for ASGI, for any application of PEP 3333.

::

    from replsession.wsgi import SessionMiddleware
    app = SessionMiddleware(app, secret_key=SECRET)      # environ["replsession.session"]

Making it starts nothing: each process starts its member at its first request, on a thread of its
own, so it may be made before a server forks.

1. What the application says with ``start_response`` is held until its first chunk, ``write()`` or
   end: the session is committed then, and everything up to there can still put a cookie.
2. What is written after that is committed at the end of the iterable, and again when it is closed.
3. Where all of the response is there and no code of the application can run any more, the server
   gets the very object, so that it can send a file with ``sendfile``.
4. Waiting holds up the thread. On a thread that runs a loop nothing waits: what is here is served,
   and a write concern that is not met already counts as a shortfall.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Unpack

from replsession.channel.waiting import Waiter, is_loop_here
from replsession.errors import ClusterStartError
from replsession.session.session import Session
from replsession.web.application import Application, Options
from replsession.web.cookies import CookieWriter
from replsession.web.environ import Environ, cookies_in, path_of, take_id
from replsession.web.exchange import Exchange, Unavailable
from replsession.web.refusal import NOT_STARTED, cookies_of, refusal
from replsession.web.settings import DEFAULT_MAX_AGE

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication

ExcInfo = tuple[type[BaseException], BaseException, TracebackType] | tuple[None, None, None]
Headers = list[tuple[str, str]]
Write = Callable[[bytes], object]

BEAKER_KEY = "beaker.session"
_REFUSED = "503 Service Unavailable"
_MERGED = ("vary", "referrer-policy")
"""Headers of the application of which the exchange must know."""


class WsgiSession(Session):
    """
    A session with the names of Beaker as well, for code that was written for it.

    There are no ``lock``, ``unlock``, ``revert``, ``persist`` and ``get_by_id``: nobody waits for
    another request here. ``id`` is None before the first write.
    """

    @property
    def created(self) -> float | None:
        """As :attr:`created_at`."""
        return self.created_at

    @property
    def last_accessed(self) -> float | None:
        """As :attr:`last_accessed_at`."""
        return self.last_accessed_at

    def save(self, accessed_only: bool = False) -> None:
        """Do nothing that would not be done: what changed is kept in any case."""

    def delete(self) -> None:
        """As :meth:`invalidate`."""
        self.invalidate()

    def regenerate_id(self) -> None:
        """As :meth:`rotate_id`; the old id is dead."""
        self.rotate_id()


class SessionMiddleware:
    """
    Sessions for a WSGI application, kept in the memory of every member.

    The first nine arguments are those of the middleware for ASGI, with the same defaults.

    Args:
        app: The application.
        secret_key: Signs ids; with a list the first signs and all verify. Also the cluster's
            secret, unless that has its own.
        session_cookie: Name of the cookie.
        max_age: Seconds the browser keeps the cookie; None: until it ends.
        path: Path of the cookie.
        same_site: ``lax``, ``strict`` or ``none``.
        https_only: Send the cookie over HTTPS only.
        domain: Domain of the cookie.
        partitioned: Partitioned cookie.
        environ_key: Where in the environ the session stands; also under ``beaker.session``.
        options: ``cluster``, ``context``, ``concern`` and what else all front doors take: see
            :class:`replsession.web.application.Application`.

    Raises:
        ConfigError: a value is not allowed; it names field, what was given and what is allowed.
            At the first request: *url_tracking* with a server that does not give the URI as sent.
    """

    def __init__(
        self,
        app: WSGIApplication,
        secret_key: Any,
        session_cookie: str = "session",
        max_age: int | None = DEFAULT_MAX_AGE,
        path: str = "/",
        same_site: Literal["lax", "strict", "none"] = "lax",
        https_only: bool = False,
        domain: str | None = None,
        partitioned: bool = False,
        *,
        environ_key: str = "replsession.session",
        **options: Unpack[Options],
    ) -> None:
        self.app = app
        self.environ_key = environ_key
        self._cookies = CookieWriter(
            session_cookie, path, same_site, https_only, domain, partitioned, max_age
        )
        self._behind = Application(secret_key, max_age, session_class=WsgiSession, **options)
        self._channel = self._behind.channel

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        is_started = self._is_started()
        exchange = self._exchange(environ)
        response = _Response(exchange, start_response)
        if not is_started:
            return [response.refuse(NOT_STARTED, [])]
        try:
            while (waiter := exchange.waiter) is not None:
                _wait(waiter)
                exchange.go_on()
        except Unavailable as why:
            return [response.refuse(str(why), exchange.refusal_headers())]
        environ[self.environ_key] = environ[BEAKER_KEY] = exchange.session
        self._behind.indicate(exchange, environ)
        return response.of(self.app, environ)

    def _is_started(self) -> bool:
        try:
            self._channel.ensure_started()
        except ClusterStartError:
            return False
        return True

    def _exchange(self, environ: Environ) -> Exchange:
        cookies = cookies_in(environ)
        if not self._behind.url_tracking:
            return self._behind.exchange(self._cookies, cookies, path_of(environ))
        came = take_id(environ)
        return self._behind.exchange(
            self._cookies, cookies, path_of(environ), token=came.token, site=came.site
        )


class _Response:
    """What the application answers, and what its session adds to it."""

    def __init__(self, exchange: Exchange, start_response: StartResponse) -> None:
        self._exchange = exchange
        self._start_response = start_response
        self._said: tuple[str, Headers] | None = None
        self._write: Write | None = None
        """The server's; set when the headers were handed on."""
        self._iterable: Iterable[bytes] = ()
        self._chunks: Iterator[bytes] | None = None
        self._is_refused = self._has_failed = False

    def of(self, app: WSGIApplication, environ: Environ) -> Iterable[bytes]:
        """Call the application; return what the server shall send."""
        try:
            iterable = app(environ, self._start)
        except BaseException:
            if self._exchange.is_started:
                self._exchange.abandon()
            raise
        if self._said is None or not _is_complete(iterable, environ):
            self._iterable = iterable
            return self
        try:
            instead = self._end()
        except BaseException:
            _close(iterable)
            raise
        if self._is_refused:
            _close(iterable)
            return [] if instead is None else [instead]
        return iterable

    def __iter__(self) -> Iterator[bytes]:
        if self._chunks is None:
            self._chunks = iter(self._iterable)
        return self

    def __next__(self) -> bytes:
        try:
            return self._next()
        except StopIteration:
            raise
        except BaseException:
            self._has_failed = True
            raise

    def _next(self) -> bytes:
        if self._is_refused:
            raise StopIteration
        assert self._chunks is not None
        try:
            chunk = next(self._chunks)
        except StopIteration:
            instead = self._end()
            if instead is None:
                raise
            return instead
        instead = self._begin()
        return chunk if instead is None else instead

    def close(self) -> None:
        """The response is over, or the server gave it up: commit what was written since."""
        try:
            _close(self._iterable)
        except BaseException:
            self._has_failed = True
            raise
        finally:
            if self._has_failed and self._exchange.is_started:
                self._exchange.abandon()
            elif self._exchange.is_started or (self._said is not None and not self._has_failed):
                self._exchange.proceed()

    def refuse(self, why: str, more: list[tuple[bytes, bytes]]) -> bytes:
        """Start a 503 in the place of the application's response; return its body."""
        headers, body = refusal(why, more)
        self._is_refused = True
        self._write = self._start_response(_REFUSED, [_text(header) for header in headers])
        return body

    def _start(self, status: str, headers: Headers, exc_info: ExcInfo | None = None) -> Write:
        """Take what the application says, as its ``start_response``."""
        if exc_info is None and self._said is not None:
            raise AssertionError("start_response was called again, without exc_info")
        # A copy: an application may use one list for all its responses.
        self._said = (status, list(headers))
        if exc_info is not None and self._write is not None and not self._is_refused:
            # The server raises it if the headers have left.
            instead = self._hand_on(exc_info)
            if instead is not None:
                self._write(instead)
        return self._write_chunk

    def _write_chunk(self, chunk: bytes) -> None:
        instead = self._begin()
        if self._write is not None and (instead is not None or not self._is_refused):
            self._write(chunk if instead is None else instead)

    def _begin(self) -> bytes | None:
        """Hand the headers on unless that was done; return what is sent instead, if anything."""
        if self._write is not None or self._said is None:
            # Without start_response it is the server that says what is wrong.
            return None
        return self._hand_on(None)

    def _end(self) -> bytes | None:
        """The application has said all; return what is sent instead, if anything."""
        instead = self._begin()
        if self._exchange.is_started:
            self._exchange.proceed()
        return instead

    def _hand_on(self, exc_info: ExcInfo | None) -> bytes | None:
        assert self._said is not None
        exchange = self._exchange
        status, headers = self._said
        headers, waiter = _with_session(exchange, headers)
        if waiter is not None:
            _wait(waiter)
            error = exchange.shortfall(waiter)
            if error is not None:
                return self.refuse(str(error), cookies_of([*map(_bytes, headers)]))
        if exc_info is None:
            self._write = self._start_response(status, headers)
        else:
            self._write = self._start_response(status, headers, exc_info)
        return None


def _with_session(exchange: Exchange, headers: Headers) -> tuple[Headers, Waiter | None]:
    """Commit; return the application's headers with those of the session."""
    theirs = [_bytes((name.lower(), value)) for name, value in headers if name.lower() in _MERGED]
    ours = theirs.copy()
    waiter = exchange.start(ours)
    if ours == theirs:
        return headers, waiter
    others = [header for header in headers if header[0].lower() not in _MERGED]
    return [*others, *map(_text, ours)], waiter


def _text(header: tuple[bytes, bytes]) -> tuple[str, str]:
    return header[0].decode("latin-1").title(), header[1].decode("latin-1")


def _bytes(header: tuple[str, str]) -> tuple[bytes, bytes]:
    return header[0].encode("latin-1"), header[1].encode("latin-1")


def _wait(waiter: Waiter) -> None:
    # A loop can't be held up: it may be the one that brings what is waited for.
    if not is_loop_here():
        waiter.wait_blocking()


def _is_complete(iterable: Iterable[bytes], environ: Environ) -> bool:
    """Tell whether no code of the application runs while the server goes through this."""
    wrapper = environ.get("wsgi.file_wrapper")
    return type(iterable) in (list, tuple) or (
        isinstance(wrapper, type) and type(iterable) is wrapper
    )


def _close(iterable: object) -> None:
    close = getattr(iterable, "close", None)
    if close is not None:
        close()
