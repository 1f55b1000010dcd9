"""
The front door for Quart: ``quart.session``, kept in the memory of every member.

::

    from replsession.quart import ReplicatedSession
    app = Quart(__name__)
    app.secret_key = SECRET
    ReplicatedSession(app)

All that ``replsession.flask`` says holds here; waiting is done with ``await``. The member lives on
the application's loop from before to after it is served. In a websocket the session is committed
when it is accepted, which is where a cookie can still be set, and when its handler ends.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Unpack

from markupsafe import Markup
from quart import Quart, Response, has_request_context, request, session, websocket
from quart.sessions import SessionInterface, SessionMixin
from quart.wrappers import BaseRequestWebsocket
from werkzeug.exceptions import ServiceUnavailable
from werkzeug.http import dump_cookie
from werkzeug.wrappers import Response as WerkzeugResponse

from replsession.errors import ClusterStartError
from replsession.web.application import Application, Arrived, Options, arrived
from replsession.web.configured import ConfiguredApplication, ConfiguredSession
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
from replsession.web.refusal import NOT_STARTED, RETRY_AFTER_S, cookies_of, refuse

store_markup(Markup)

EXTENSION = "replsession"

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class QuartSession(ConfiguredSession, SessionMixin):  # type: ignore[override]
    """What ``quart.session`` is: a session, and what Quart's sessions have."""


class ReplicatedSession(SessionInterface):
    """
    Puts replicated sessions in the place of Quart's own.

    One object may serve several applications. ``app.extensions["replsession"]`` has the
    application's ``cluster``, whose ``is_ready`` is for a readiness endpoint.

    Args:
        app: The application; None: call :meth:`init_app` later.
        options: Defaults for ``REPLSESSION_…`` keys of the configuration, in lower case without the
            prefix: see :class:`replsession.web.application.Application`.

    Raises:
        ConfigError: an option is not known. When the application starts: a value is not allowed,
            or the configuration has a key with our prefix that is not known.
    """

    def __init__(self, app: Quart | None = None, **options: Unpack[Options]) -> None:
        self._options = options
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Quart) -> None:
        """Keep an application's sessions; its configuration is read when it starts."""
        configured = ConfiguredApplication(app.config, QuartSession, self._options)
        app.extensions[EXTENSION] = configured
        app.session_interface = self  # type: ignore[assignment]
        app.asgi_app = _Around(app.asgi_app, configured)  # type: ignore[assignment,method-assign]
        for functions in (app.before_request_funcs, app.before_websocket_funcs):
            functions.setdefault(None, []).insert(0, _refuse)
        app.context_processor(lambda: {"encode_url": encode_url})

        stops = app.after_serving_funcs

        async def start() -> None:
            # The application's own functions are all known now: before and after them.
            stops[:] = [*(function for function in stops if function is not stop), stop]
            if configured.application is not None:
                await configured.application.channel.start()

        async def stop() -> None:
            if configured.application is not None:
                await configured.application.channel.stop()

        app.before_serving_funcs.insert(0, start)

    async def open_session(self, app: Quart, request: BaseRequestWebsocket) -> QuartSession | None:
        """Return the session of a connection; None without a secret key. Called by Quart."""
        configured = app.extensions[EXTENSION]
        assert isinstance(configured, ConfiguredApplication)
        application = configured.application
        if application is None:
            return None
        scope: Scope = request.scope  # type: ignore[assignment]
        try:
            application.channel.ensure_started()
        except ClusterStartError:
            scope[REFUSED] = NOT_STARTED
        cookies = ConfiguredCookies(self, app, dump_cookie)
        exchange = _exchange(application, cookies, request)
        try:
            while (waiter := exchange.waiter) is not None:
                await waiter.wait()
                exchange.go_on()
        except Unavailable as why:
            scope[REFUSED] = str(why)
        session = session_of(exchange, QuartSession)
        cookies.session = session
        scope[EXCHANGE] = exchange
        application.indicate(exchange, scope)
        return session

    async def save_session(
        self, app: Quart, session: SessionMixin, response: Response | WerkzeugResponse | None
    ) -> None:
        """Commit, and send the cookie where that is due. Called by Quart."""
        assert isinstance(session, QuartSession)
        exchange = session.exchange
        if response is None or (exchange.is_started and not has_request_context()):
            exchange.proceed()
            return
        renews = not session.is_untouched and self.should_set_cookie(app, session)
        waiter = started(exchange, session, response.headers, renews=renews)
        if waiter is not None:
            await waiter.wait()
            error = exchange.shortfall(waiter)
            if error is not None:
                answer_instead(response, str(error))


def encode_url(url: str) -> str:
    """
    Return *url* with ``;jsessionid=…`` where the client needs it, else as it is; in templates, too.

    Only with ``REPLSESSION_URL_TRACKING``: ``encode_url(url_for("cart"))``.
    """
    return session.encode_url(url) if isinstance(session, QuartSession) else url


class _Around:
    """Takes the id off the path before Quart sees it, and keeps what is written at the end."""

    def __init__(self, app: Any, configured: ConfiguredApplication) -> None:
        self._app = app
        self._configured = configured

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        application = self._configured.application
        if application is not None and application.url_tracking:
            came = _arrived(scope)
            scope["path"], scope["raw_path"] = came.path, came.raw_path
            scope[ARRIVED] = came
        is_refused = False

        async def send_and_keep(message: Message) -> None:
            nonlocal is_refused
            exchange = scope.get(EXCHANGE)
            if is_refused:
                # The handler goes on with a websocket that nobody opened.
                return
            if exchange is not None and message["type"] == "websocket.accept":
                is_refused = await _is_refused(exchange, scope, message, send)
                if is_refused:
                    return
            elif exchange is not None and exchange.is_started and _is_last(message):
                exchange.proceed()
            await send(message)

        try:
            await self._app(scope, receive, send_and_keep)
        finally:
            exchange = scope.get(EXCHANGE)
            if exchange is not None and (exchange.is_started or scope["type"] == "websocket"):
                exchange.abandon()


def _is_last(message: Message) -> bool:
    return message["type"] != "http.response.start" and not message.get("more_body")


async def _is_refused(exchange: Exchange, scope: Scope, message: Message, send: Send) -> bool:
    """Commit before a websocket is accepted; tell whether it is refused instead."""
    headers = list(message.get("headers") or ())
    waiter = exchange.start(headers)
    if waiter is not None:
        await waiter.wait()
        error = exchange.shortfall(waiter)
        if error is not None:
            await refuse(scope, send, str(error), cookies_of(headers))
            return True
    message["headers"] = headers
    return False


def _exchange(
    application: Application, cookies: ConfiguredCookies, request: BaseRequestWebsocket
) -> Exchange:
    scope: Scope = request.scope  # type: ignore[assignment]
    lines = request.headers.getlist("Cookie")
    headers = [(b"cookie", line.encode("latin-1", "replace")) for line in lines]
    if not application.url_tracking:
        return application.exchange(cookies, headers, scope["path"])
    # In a context that a test made, nobody has taken it yet.
    came: Arrived = scope.get(ARRIVED) or _arrived(scope)
    return application.exchange(cookies, headers, came.path, token=came.token, site=came.site)


def _arrived(scope: Scope) -> Arrived:
    host = dict(scope["headers"]).get(b"host", b"").decode("latin-1")
    return arrived(scope["path"], scope.get("raw_path"), scope.get("scheme", "http"), host)


def _refuse() -> None:
    """Let Quart answer a request that must not be answered now."""
    scope = (request if has_request_context() else websocket).scope
    why = scope.get(REFUSED)
    if why is not None:
        raise ServiceUnavailable(f"{why}. Please try again.", retry_after=RETRY_AFTER_S)
