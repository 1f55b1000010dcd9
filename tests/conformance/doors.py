"""The drivers of the scenarios in ``overlap.py``: one for each front door."""

from __future__ import annotations

import itertools
import threading
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    MutableMapping,
)
from concurrent.futures import Future
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication

import anyio
import anyio.to_thread
import flask
import quart
from anyio.from_thread import BlockingPortal, start_blocking_portal

from replsession import SessionMiddleware
from replsession.channel.channel import Channel
from replsession.flask import ReplicatedSession as ReplicatedFlask
from replsession.quart import ReplicatedSession as ReplicatedQuart
from replsession.wsgi import SessionMiddleware as WsgiMiddleware
from tests.browser import Answer, Browser, Receive, Send
from tests.conformance.overlap import WITHIN_S, Door, Reply, Request, Script, WebsocketDoor
from tests.gateway import Environ, WsgiBrowser

SECRET = "short"
Message = MutableMapping[str, Any]


def reply_of(answer: Answer) -> Reply:
    """Return what a response said of the session."""
    assert answer.status in (101, 200)
    cookie = "" if answer.cookie in ("null", "") else answer.cookie
    return Reply(cookie, varies="Cookie" in ", ".join(answer.values("vary")).split(", "))


def sessions_in(channel: Channel) -> int:
    """Return how many sessions live on the member of a channel."""
    records = channel.member.node.store.records()
    return sum(record.destroyed is None for record in records)


class Scripts:
    """The scripts of an application's requests, by their paths."""

    def __init__(self) -> None:
        self._numbers = itertools.count()
        self._by_path: dict[str, Script] = {}

    def new(self) -> tuple[str, Script]:
        """Return the path of a request, and what it will do."""
        path, script = f"/{next(self._numbers)}", Script()
        self._by_path[path] = script
        return path, script

    def of(self, path: str) -> Script:
        """Return what the request of this path does."""
        return self._by_path[path]


class ThreadRequest(Request):
    """A request that a server answers on a thread of its own."""

    def __init__(self, script: Script, get: Callable[[], Answer]) -> None:
        self.script = script
        self._answer: Future[Answer] = Future()
        threading.Thread(target=self._run, args=(get,), daemon=True).start()
        script.wait_until_arrived()

    def _run(self, get: Callable[[], Answer]) -> None:
        try:
            self._answer.set_result(get())
        except BaseException as error:  # noqa: BLE001 - the scenario gets it
            self._answer.set_exception(error)

    def finish(self) -> Reply:
        self.script.end()
        return reply_of(self._answer.result(WITHIN_S))


class WsgiDoor(Door):
    """A plain WSGI application behind the middleware."""

    def __init__(self) -> None:
        self.scripts = Scripts()
        self.app, self.channel = self.built()

    def built(self) -> tuple[WSGIApplication, Channel]:
        """Return the application with its front door, and where sessions are kept."""
        middleware = WsgiMiddleware(self.page, SECRET, cluster=None)
        return middleware, middleware._channel

    def page(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Do what the test says."""
        script, session = self.scripts.of(environ["PATH_INFO"]), environ["replsession.session"]
        is_streamed = script.run(session)
        start_response("200 OK", [("Content-Type", "text/plain")])
        return self.chunks(script, session) if is_streamed else [b"page"]

    def chunks(self, script: Script, session: Any) -> Iterator[bytes]:
        """Return a response that goes on with what the test says after its first chunk."""
        yield b"first"
        script.stream(session)
        yield b"last"

    def begin(self, cookie: str | None) -> Request:
        path, script = self.scripts.new()
        browser = WsgiBrowser(self.app, cookie)
        return ThreadRequest(script, lambda: browser.get(path))

    def another(self) -> Door:
        return type(self)()

    def count(self) -> int:
        return sessions_in(self.channel)


class FlaskDoor(WsgiDoor):
    """A Flask application with the extension."""

    def built(self) -> tuple[WSGIApplication, Channel]:
        app = flask.Flask(__name__)
        app.config |= {"SECRET_KEY": SECRET, "REPLSESSION_CLUSTER": "none"}
        ReplicatedFlask(app)
        app.add_url_rule("/<number>", view_func=self.view)
        application = app.extensions["replsession"].application
        return app, application.channel

    def view(self, number: str) -> flask.Response:
        """Do what the test says."""
        script = self.scripts.of(f"/{number}")
        session = flask.session._get_current_object()  # type: ignore[attr-defined]
        # The proxy says that the session was accessed, which a page that leaves it alone does not.
        session.accessed = False
        if script.run(session):
            return flask.Response(flask.stream_with_context(self.chunks(script, session)))
        return flask.Response("page")


class AsgiRequest(Request):
    """A request that an ASGI application answers on the portal's loop."""

    def __init__(
        self, portal: BlockingPortal, script: Script, get: Callable[[], Awaitable[Answer]]
    ) -> None:
        self.script = script
        self._answer = portal.start_task_soon(get)
        script.wait_until_arrived()

    def finish(self) -> Reply:
        self.script.end()
        return reply_of(self._answer.result(WITHIN_S))


class AsgiDoor(WebsocketDoor):
    """A plain ASGI application behind the middleware, on asyncio or on trio."""

    def __init__(self, backend: str = "asyncio") -> None:
        self.backend = backend
        self.scripts = Scripts()
        self._started = start_blocking_portal(backend)
        self._portal = self._started.__enter__()
        self.app, self.channel = self.built()

    def built(self) -> tuple[Any, Channel]:
        """Return the application with its front door, and where sessions are kept."""
        middleware = SessionMiddleware(self.page, SECRET, cluster=None)
        return middleware, middleware._channel

    async def page(self, scope: Message, receive: Receive, send: Send) -> None:
        """Do what the test says."""
        script, session = self.scripts.of(scope["path"]), scope["session"]
        is_socket = scope["type"] == "websocket"
        is_streamed = await anyio.to_thread.run_sync(script.run, session)
        if is_socket:
            await send({"type": "websocket.accept"})
        else:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            chunk = {"body": b"first", "more_body": True}
            await send({"type": "http.response.body", **chunk})
        if is_streamed:
            await anyio.to_thread.run_sync(script.stream, session)
        if not is_socket:
            await send({"type": "http.response.body", "body": b"last"})

    def begin(self, cookie: str | None) -> Request:
        path, script = self.scripts.new()
        browser = Browser(self.app, cookie)
        return AsgiRequest(self._portal, script, lambda: browser.get(path))

    def begin_websocket(self, cookie: str | None) -> Request:
        path, script = self.scripts.new()
        browser = Browser(self.app, cookie)

        async def get() -> Answer:
            async with browser.websocket(path) as socket:
                await socket.hear()
                await anyio.to_thread.run_sync(script.wait_until_over)
            assert socket.accepted is not None
            return socket.accepted

        return AsgiRequest(self._portal, script, get)

    def another(self) -> Door:
        return type(self)(self.backend)

    def count(self) -> int:
        return sessions_in(self.channel)

    def close(self) -> None:
        self._started.__exit__(None, None, None)


class QuartDoor(AsgiDoor):
    """A Quart application with the extension."""

    def built(self) -> tuple[Any, Channel]:
        app = quart.Quart(__name__)
        app.config |= {"SECRET_KEY": SECRET, "REPLSESSION_CLUSTER": "none"}
        ReplicatedQuart(app)
        app.add_url_rule("/<number>", view_func=self.view)
        app.add_websocket("/<number>", "socket", self.socket)
        return app, app.extensions["replsession"].application.channel

    async def view(self, number: str) -> quart.Response:
        """Do what the test says."""
        script = self.scripts.of(f"/{number}")
        session = quart.session._get_current_object()  # type: ignore[attr-defined]
        if await anyio.to_thread.run_sync(script.run, session):
            return quart.Response(self.stream(script, session))
        return quart.Response("page")

    async def stream(self, script: Script, session: Any) -> AsyncIterator[bytes]:
        """Go on with what the test says after a first chunk."""
        yield b"first"
        await anyio.to_thread.run_sync(script.stream, session)
        yield b"last"

    async def socket(self, number: str) -> None:
        """Do what the test says."""
        script = self.scripts.of(f"/{number}")
        session = quart.session._get_current_object()  # type: ignore[attr-defined]
        await anyio.to_thread.run_sync(script.run, session)
        await quart.websocket.accept()
        await anyio.to_thread.run_sync(script.stream, session)
