"""
The front door for Flask: ``flask.session``, kept in the memory of every member.

::

    from replsession.flask import ReplicatedSession
    app = Flask(__name__)
    app.secret_key = SECRET
    ReplicatedSession(app)

All that Flask says of its sessions holds; what is different is where they are kept. Settings of
ours stand in ``app.config`` as ``REPLSESSION_CLUSTER``, ``REPLSESSION_LIFETIME`` and so on.

1. The session is committed when Flask saves it: the response is there and nothing has left yet.
2. What is written later is kept too: by teardown functions and streams with the request's context
   when that is popped, by other streams when the response is closed. Only a new session can't
   begin then, since no cookie would say so.
3. A session is there before the routing. A request that must not be answered now gets a 503 through
   the application's own error handlers, with a session that nothing written to it begins.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Unpack

from flask import Flask, Request, Response, request, session
from flask.sessions import SessionInterface, SessionMixin
from markupsafe import Markup
from werkzeug.exceptions import ServiceUnavailable
from werkzeug.http import dump_cookie

from replsession.channel.waiting import Waiter, is_loop_here
from replsession.errors import ClusterStartError
from replsession.web.application import Application, Arrived, Options
from replsession.web.configured import ConfiguredApplication, ConfiguredSession
from replsession.web.environ import Environ, cookies_in, path_of, take_id
from replsession.web.exchange import Exchange, Unavailable
from replsession.web.interface import (
    ARRIVED,
    EXCHANGE,
    REFUSED,
    ConfiguredCookies,
    answer_instead,
    session_of,
    started,
    store_markup,
)
from replsession.web.refusal import NOT_STARTED, RETRY_AFTER_S

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication

store_markup(Markup)

EXTENSION = "replsession"


class FlaskSession(ConfiguredSession, SessionMixin):  # type: ignore[override]
    """What ``flask.session`` is: a session, and what Flask's sessions have."""


class ReplicatedSession(SessionInterface):
    """
    Puts replicated sessions in the place of Flask's own.

    One object may serve several applications. ``app.extensions["replsession"]`` has the
    application's ``cluster``, whose ``is_ready`` is for a readiness endpoint.

    Args:
        app: The application; None: call :meth:`init_app` later.
        options: Defaults for ``REPLSESSION_…`` keys of the configuration, in lower case without the
            prefix: see :class:`replsession.web.application.Application`.

    Raises:
        ConfigError: an option is not known. At the first request: a value is not allowed, or
            the configuration has a key with our prefix that is not known.
    """

    def __init__(self, app: Flask | None = None, **options: Unpack[Options]) -> None:
        self._options = options
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Keep an application's sessions; its configuration is read at the first request."""
        configured = ConfiguredApplication(app.config, FlaskSession, self._options)
        app.extensions[EXTENSION] = configured
        app.session_interface = self
        app.wsgi_app = _Tracking(app.wsgi_app, configured)  # type: ignore[method-assign]
        # First of all: nothing of the application runs for a request that is refused, and
        # what its own teardown functions write is there when ours comes last.
        app.before_request_funcs.setdefault(None, []).insert(0, _refuse)
        app.teardown_request_funcs.setdefault(None, []).insert(0, _keep)
        app.context_processor(lambda: {"encode_url": encode_url})

    def open_session(self, app: Flask, request: Request) -> FlaskSession | None:
        """Return the session of a request; None without a secret key. Called by Flask."""
        configured = _configured(app)
        application = configured.application
        if application is None:
            return None
        environ = request.environ
        try:
            application.channel.ensure_started()
        except ClusterStartError:
            environ[REFUSED] = NOT_STARTED
        cookies = ConfiguredCookies(self, app, dump_cookie)
        exchange = _exchange(application, cookies, environ)
        try:
            while (waiter := exchange.waiter) is not None:
                _wait(waiter)
                exchange.go_on()
        except Unavailable as why:
            environ[REFUSED] = str(why)
        session = session_of(exchange, FlaskSession)
        cookies.session = session
        environ[EXCHANGE] = exchange
        application.indicate(exchange, environ)
        return session

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        """Commit, and send the cookie where that is due. Called by Flask."""
        assert isinstance(session, FlaskSession)
        exchange = session.exchange
        renews = not session.is_untouched and self.should_set_cookie(app, session)
        waiter = started(exchange, session, response.headers, renews=renews)
        if waiter is not None:
            _wait(waiter)
            error = exchange.shortfall(waiter)
            if error is not None:
                _close(response.response)
                response.direct_passthrough = False
                answer_instead(response, str(error))
        if REFUSED in request.environ:
            response.headers.setdefault("Cache-Control", "no-store")
        if response.is_streamed and not response.direct_passthrough:
            response.response = _Stream(response.response, exchange)


def encode_url(url: str) -> str:
    """
    Return *url* with ``;jsessionid=…`` where the client needs it, else as it is; in templates, too.

    Only with ``REPLSESSION_URL_TRACKING``: ``encode_url(url_for("cart"))``.
    """
    return session.encode_url(url) if isinstance(session, FlaskSession) else url


class _Stream:
    """A response's chunks, with a commit at their end and when they are closed."""

    def __init__(self, chunks: Iterable[Any], exchange: Exchange) -> None:
        self._given = chunks
        self._chunks = iter(chunks)
        self._exchange = exchange

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        try:
            return next(self._chunks)
        except StopIteration:
            self._exchange.proceed()
            raise

    def close(self) -> None:
        """End the response, or give it up."""
        try:
            _close(self._given)
        finally:
            self._exchange.proceed()


class _Tracking:
    """Takes the id off the path before Flask looks for the view."""

    def __init__(self, app: WSGIApplication, configured: ConfiguredApplication) -> None:
        self._app = app
        self._configured = configured

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        application = self._configured.application
        if application is not None and application.url_tracking:
            environ[ARRIVED] = take_id(environ)
        return self._app(environ, start_response)


def _configured(app: Flask) -> ConfiguredApplication:
    configured = app.extensions[EXTENSION]
    assert isinstance(configured, ConfiguredApplication)
    return configured


def _exchange(application: Application, cookies: ConfiguredCookies, environ: Environ) -> Exchange:
    headers = cookies_in(environ)
    if not application.url_tracking:
        return application.exchange(cookies, headers, path_of(environ))
    # In a context that a test made, nobody has taken it yet.
    came: Arrived = environ.get(ARRIVED) or take_id(environ)
    return application.exchange(
        cookies, headers, path_of(environ), token=came.token, site=came.site
    )


def _wait(waiter: Waiter) -> None:
    if not is_loop_here():
        waiter.wait_blocking()


def _refuse() -> None:
    """Let Flask answer a request that must not be answered now."""
    why = request.environ.get(REFUSED)
    if why is not None:
        raise ServiceUnavailable(f"{why}. Please try again.", retry_after=RETRY_AFTER_S)


def _keep(error: BaseException | None) -> None:
    """Commit what was written since the session was saved; the request's context ends."""
    exchange = request.environ.get(EXCHANGE)
    if exchange is not None and exchange.is_started:
        # An error here would take the place of the response, which is there already.
        exchange.abandon()


def _close(iterable: object) -> None:
    close = getattr(iterable, "close", None)
    if close is not None:
        close()
