"""
The front door for ASGI: a drop-in for Starlette's ``SessionMiddleware``, replicated.

::

    from replsession import SessionMiddleware            # was: starlette.middleware.sessions

It wraps any ASGI application. With a lifespan the member lives on the application's loop; without
one (or under trio) it starts at the first request, on a thread of its own. Making it starts
nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any, Literal
from urllib.parse import quote

from replsession.channel.channel import Channel
from replsession.cluster import Cluster
from replsession.concern import Concern, check_concern
from replsession.errors import ClusterStartError, ConfigError
from replsession.web.cookies import CookieWriter
from replsession.web.exchange import Exchange, Policy, Site, Unavailable
from replsession.web.listeners import Listeners
from replsession.web.manager import Manager
from replsession.web.refusal import cookies_of, refuse
from replsession.web.settings import (
    DEFAULT_MAX_AGE,
    UNSET,
    Unset,
    check_choice,
    check_context,
    check_switch,
    secrets_of,
    session_limits,
)
from replsession.web.tracking import take
from replsession.web.valve import DEFAULT_FILTER, Valve

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
        app: The application. secret_key: Signs ids; with a list the first signs and all verify.
        Also the cluster's secret,
            unless that has its own.
        session_cookie: Name of the cookie.
        max_age: Seconds the browser keeps the cookie; None: until it ends.
        path: Path of the cookie.
        same_site: ``lax``, ``strict`` or ``none``.
        https_only: Send the cookie over HTTPS only.
        domain: Domain of the cookie.
        partitioned: Partitioned cookie.
        cluster: ``Cluster.local()`` by default; ``Cluster.lan("name")``; None: this process alone.
        context: The application's name in the cluster; applications share sessions by it.
        max_inactive_interval: Seconds without a request after which a session is over. Unset:
            ``max_age`` if that was passed, else 1800; None: never.
        lifetime: Seconds after its birth at which a session is over in any case; None: never.
        url_tracking: Also take the id from ``;jsessionid=`` in the path.
        valve: Paths without session work, as regular expressions; see :class:`Valve`.
        listeners: Objects that hear of sessions; see ``replsession.web.listeners``.
        notify_listeners_on_replication: Whether they hear of what other members did.
        expire_sessions_on_shutdown: Whether a graceful stop ends, on all members, the sessions that
            this one served last, as far as it knows. Source: Tomcat's ``expireSessionsOnShutdown``.
        required: Whether a cluster that cannot start stops the application.
        concern: How many other members must hold a write before the response starts: ``async`` for
            none, ``one``, ``majority``, ``all``; see :mod:`replsession.concern`.
        ack_timeout_s: Longest wait for them, seconds above 0, at most 60.
        on_shortfall: If too few do: ``error`` answers 503, ``warn`` answers and logs. The write is
            never undone.
        expected_members: How many members the cluster is meant to have, for ``majority`` and
            ``all``; None: as many as were seen.
        stale: When the client has seen more than this member can get within 250 ms: ``serve`` what
            is here with ``session.stale`` set, or ``error``: 503.

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
        *,
        cluster: Cluster | Unset | None = UNSET,
        context: str = "/",
        max_inactive_interval: float | Unset | None = UNSET,
        lifetime: float | None = None,
        url_tracking: bool = False,
        valve: Valve | str | Sequence[str] | None = DEFAULT_FILTER,
        listeners: Sequence[object] = (),
        notify_listeners_on_replication: bool = True,
        expire_sessions_on_shutdown: bool = False,
        required: bool = False,
        concern: Concern = "async",
        ack_timeout_s: float = 1.0,
        on_shortfall: Literal["error", "warn"] = "error",
        expected_members: int | None = None,
        stale: Literal["serve", "error"] = "serve",
    ) -> None:
        self.app = app
        secrets = secrets_of(secret_key)
        check_context(context)
        check_switch("url_tracking", url_tracking)
        check_switch("notify_listeners_on_replication", notify_listeners_on_replication)
        check_switch("expire_sessions_on_shutdown", expire_sessions_on_shutdown)
        check_switch("required", required)
        check_choice("on_shortfall", on_shortfall, ("error", "warn"))
        check_choice("stale", stale, ("serve", "error"))
        asked = check_concern(concern, ack_timeout_s, expected_members)
        self._policy = Policy(asked, on_shortfall, stale)
        self._url_tracking = url_tracking
        self._valve = valve if isinstance(valve, Valve) else Valve(valve)
        self._cookies = CookieWriter(
            session_cookie, path, same_site, https_only, domain, partitioned, max_age
        )
        limits = session_limits(max_age, max_inactive_interval, lifetime)
        heard = Listeners(listeners, context)
        self._channel = _channel(cluster, secrets[0], required=required)
        self._manager = Manager(
            self._channel,
            context,
            secrets,
            limits,
            heard,
            notify_on_replication=notify_listeners_on_replication,
            expire_on_stop=expire_sessions_on_shutdown,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection: http and websocket get a session, lifespan drives the cluster."""
        kind = scope["type"]
        if kind == "lifespan":
            await self._lifespan(scope, receive, send)
            return
        if kind != "http" and kind != "websocket":
            await self.app(scope, receive, send)
            return
        self._channel.ensure_started()
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
        path = scope["path"]
        token = None
        site = None
        if self._url_tracking:
            taken = take(path, scope.get("raw_path"))
            if taken.path != path:
                # In place, so that servers do not write the token into their access log either.
                scope["path"], scope["raw_path"] = path, _ = taken.path, taken.raw_path
            token = taken.token
            site = _site(scope, taken.path, taken.raw_path)
        is_filtered = not self._valve.admits(path)
        return Exchange(
            self._manager,
            self._cookies,
            scope["headers"],
            token,
            site,
            path=path,
            is_filtered=is_filtered,
            policy=self._policy,
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


def _channel(cluster: Cluster | Unset | None, secret: str, *, required: bool) -> Channel:
    if isinstance(cluster, Unset):
        cluster = Cluster.local()
    if cluster is None:
        return Channel(None)
    if not isinstance(cluster, Cluster):
        raise ConfigError("cluster", cluster, "Cluster.local(), Cluster.lan(name), or None")
    return cluster.attach(secret, required=required)


def _site(scope: Scope, path: str, raw_path: bytes | None) -> Site:
    host = ""
    for name, value in scope["headers"]:
        if name == b"host":
            host = value.decode("latin-1")
            break
    # ASGI lets servers leave out the raw path, and some put the query behind it.
    raw = quote(path) if raw_path is None else raw_path.partition(b"?")[0].decode("latin-1")
    return Site(scope.get("scheme", "http"), host, raw)
