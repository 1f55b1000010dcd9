"""
The front door for ASGI: a drop-in for Starlette's ``SessionMiddleware``, replicated.

::

    from replsession import SessionMiddleware            # was: starlette.middleware.sessions

It wraps any ASGI application. With a lifespan the member lives on the application's loop; without
one (or under trio) it starts at the first request, on a thread of its own. Making it starts
nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Literal, Unpack

from replsession.errors import ClusterStartError
from replsession.web.application import Application as Behind
from replsession.web.application import Options, arrived
from replsession.web.cookies import CookieWriter
from replsession.web.exchange import Exchange, Unavailable
from replsession.web.refusal import NOT_STARTED, cookies_of, refuse
from replsession.web.settings import DEFAULT_MAX_AGE

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

_STARTS = frozenset({"http.response.start", "websocket.accept", "websocket.http.response.start"})
_ENDS = frozenset(
    {"lifespan.startup.failed", "lifespan.shutdown.complete", "lifespan.shutdown.failed"}
)


class SessionMiddleware:
    """
    Sessions for an ASGI application, as ``request.session``, kept in the memory of every member.

    The first nine arguments are those of Starlette's middleware, with its defaults.

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
        options: ``cluster``, ``context``, ``concern`` and what else all front doors take: see
            :class:`replsession.web.application.Application`.

    Raises:
        ConfigError: a value is not allowed; it names field, what was given and what is allowed.
    """

    def __init__(
        self,
        app: Application,
        secret_key: Any,
        session_cookie: str = "session",
        max_age: int | None = DEFAULT_MAX_AGE,
        path: str = "/",
        same_site: Literal["lax", "strict", "none"] = "lax",
        https_only: bool = False,
        domain: str | None = None,
        partitioned: bool = False,
        **options: Unpack[Options],
    ) -> None:
        self.app = app
        self._cookies = CookieWriter(
            session_cookie, path, same_site, https_only, domain, partitioned, max_age
        )
        self._behind = Behind(secret_key, max_age, **options)
        self._channel = self._behind.channel

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection: http and websocket get a session, lifespan drives the cluster."""
        kind = scope["type"]
        if kind == "lifespan":
            await self._lifespan(scope, receive, send)
            return
        if kind != "http" and kind != "websocket":
            await self.app(scope, receive, send)
            return
        try:
            self._channel.ensure_started()
        except ClusterStartError:
            await refuse(scope, send, NOT_STARTED, [])
            return
        exchange = self._exchange(scope)
        if exchange.waiter is not None:
            try:
                while (waiter := exchange.waiter) is not None:
                    await waiter.wait()
                    exchange.go_on()
            except Unavailable as why:
                await refuse(scope, send, str(why), exchange.refusal_headers())
                return
        scope["session"] = exchange.session
        self._behind.indicate(exchange, scope)
        is_refused = False

        async def send_with_session(message: Message) -> None:
            nonlocal is_refused
            kind = message["type"]
            if is_refused:
                # The application goes on with a response that nobody gets any more.
                return
            if kind in _STARTS:
                # A copy: an application may use one list for all its responses.
                headers = list(message.get("headers") or ())
                waiter = exchange.start(headers)
                if waiter is not None:
                    await waiter.wait()
                    error = exchange.shortfall(waiter)
                    if error is not None:
                        is_refused = True
                        await refuse(scope, send, str(error), cookies_of(headers))
                        return
                message["headers"] = headers
                await send(message)
                return
            if exchange.session.is_dirty and exchange.is_started and not message.get("more_body"):
                exchange.proceed()
            await send(message)

        try:
            await self.app(scope, receive, send_with_session)
        except BaseException:
            if exchange.is_started:
                exchange.abandon()
            raise
        if exchange.is_started or scope["type"] == "websocket":
            # A websocket may have been refused or left before it was accepted.
            exchange.proceed()

    def _exchange(self, scope: Scope) -> Exchange:
        headers = scope["headers"]
        path = scope["path"]
        if not self._behind.url_tracking:
            return self._behind.exchange(self._cookies, headers, path)
        came = arrived(path, scope.get("raw_path"), scope.get("scheme", "http"), _host(headers))
        if came.path != path:
            # In place, so that servers do not write the token into their access log either.
            scope["path"], scope["raw_path"] = came.path, came.raw_path
        return self._behind.exchange(
            self._cookies, headers, came.path, token=came.token, site=came.site
        )

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def receive_and_start() -> Message:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await self._channel.start()
            return message

        async def send_and_stop(message: Message) -> None:
            if message["type"] in _ENDS:
                await self._channel.stop()
            await send(message)

        try:
            await self.app(scope, receive_and_start, send_and_stop)
        except ClusterStartError as error:
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            raise


def _host(headers: Iterable[tuple[bytes, bytes]]) -> str:
    for name, value in headers:
        if name == b"host":
            return value.decode("latin-1")
    return ""
