"""
A browser and a server in one, for tests of front doors: calls an ASGI application directly.

Nothing runs between a test and the application, so a test decides in which order two requests that
overlap go on. Works under asyncio and under trio.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

import anyio
import anyio.abc

from replsession.session.session import Session

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]
Page = Callable[[Session], Awaitable[object]]

COOKIE = "session"
NEVER = "expires=Thu, 01 Jan 1970"


@dataclass
class Answer:
    """A response."""

    status: int = 0
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""

    def values(self, name: str) -> list[str]:
        """Return the values of all headers of a name."""
        return [value.decode("latin-1") for key, value in self.headers if key == name.encode()]

    @property
    def cookie(self) -> str | None:
        """What the response gives our cookie; ``"null"``: it is taken away; None: nothing."""
        cookies = [one for one in self.values("set-cookie") if one.startswith(f"{COOKIE}=")]
        assert len(cookies) <= 1
        return cookies[0].partition(";")[0].removeprefix(f"{COOKIE}=") if cookies else None

    def json(self) -> Any:
        """Return what the body says."""
        return json.loads(self.body)


class Browser:
    """
    Keeps the cookie of one application.

    Args:
        app: The application, its middleware around it.
        cookie: What it holds at the beginning.
    """

    def __init__(self, app: Application, cookie: str | None = None) -> None:
        self.app = app
        self.cookie = cookie

    async def get(self, path: str = "/", method: str = "GET", **scope: Any) -> Answer:
        """
        Ask for a page, and keep the cookie that it sends.

        Args:
            path: Percent-encoded, as it stands in the request's first line, without a query.
            method: Of the request.
            scope: Changes of the scope; ``raw_path=None`` leaves that out.
        """
        answer = Answer()

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer.status = message["status"]
                answer.headers = [(bytes(name), bytes(value)) for name, value in message["headers"]]
                self._keep(answer)
            else:
                answer.body += message.get("body", b"")

        is_asked = False

        async def receive() -> Message:
            nonlocal is_asked
            if is_asked:
                # Who asks again wants to know when the client goes away, which this one never does.
                await anyio.sleep_forever()
            is_asked = True
            return {"type": "http.request", "body": b"", "more_body": False}

        await self.app(self.scope("http", path, method=method, **scope), receive, send)
        return answer

    @asynccontextmanager
    async def websocket(self, path: str = "/", **scope: Any) -> AsyncIterator[Socket]:
        """Open a websocket; leaving the block closes it and waits until the application ended."""
        socket = Socket()

        async def run() -> None:
            await self.app(self.scope("websocket", path, **scope), socket.receive, socket.answer)

        with socket:
            async with anyio.create_task_group() as group:
                group.start_soon(run)
                yield socket
                await socket.leave()
        if socket.accepted is not None:
            self._keep(socket.accepted)

    def scope(self, kind: str, path: str, **changes: Any) -> dict[str, Any]:
        """Return the scope of a request."""
        headers = [(b"host", b"here"), *changes.pop("headers", ())]
        if self.cookie is not None:
            headers.append((b"cookie", f"other=1; {COOKIE}={self.cookie}".encode()))
        scope: dict[str, Any] = {
            "type": kind,
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "scheme": "http" if kind == "http" else "ws",
            "path": unquote(path),
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": headers,
            **changes,
        }
        return {name: value for name, value in scope.items() if value is not None}

    def _keep(self, answer: Answer) -> None:
        for cookie in answer.values("set-cookie"):
            if cookie.startswith(f"{COOKIE}="):
                self.cookie = None if NEVER in cookie else answer.cookie


class Socket:
    """The client's end of a websocket."""

    def __init__(self) -> None:
        self.accepted: Answer | None = None
        self.closed = False
        self._to_app, self._app_gets = anyio.create_memory_object_stream[Message](10)
        self._to_client, self._client_gets = anyio.create_memory_object_stream[Message](10)
        self._to_app.send_nowait({"type": "websocket.connect"})

    def __enter__(self) -> Socket:
        return self

    def __exit__(self, *error: object) -> None:
        for end in (self._to_app, self._app_gets, self._to_client, self._client_gets):
            end.close()

    async def receive(self) -> Message:
        """Give the application its next message."""
        return await self._app_gets.receive()

    async def answer(self, message: Message) -> None:
        """Take a message of the application."""
        if message["type"] == "websocket.accept":
            self.accepted = Answer(101, list(message.get("headers") or ()))
        elif message["type"] == "websocket.close":
            self.closed = True
        await self._to_client.send(message)

    async def say(self, text: str) -> None:
        """Send a text to the application."""
        await self._to_app.send({"type": "websocket.receive", "text": text})

    async def hear(self) -> Message:
        """Return the next message of the application."""
        return await self._client_gets.receive()

    async def leave(self) -> None:
        """Go away."""
        await self._to_app.send({"type": "websocket.disconnect", "code": 1000})


@dataclass
class Lifespan:
    """What an application said in its lifespan."""

    sent: list[Message] = field(default_factory=list)
    error: BaseException | None = None

    @property
    def kinds(self) -> list[str]:
        """The types of its messages."""
        return [message["type"].removeprefix("lifespan.") for message in self.sent]


@asynccontextmanager
async def lifespan(app: Application) -> AsyncIterator[Lifespan]:
    """Run an application's lifespan as a server does, with the block between start and end."""
    said = Lifespan()
    started, stopping, ended = anyio.Event(), anyio.Event(), anyio.Event()
    begun = False

    async def receive() -> Message:
        nonlocal begun
        if not begun:
            begun = True
            return {"type": "lifespan.startup"}
        await stopping.wait()
        return {"type": "lifespan.shutdown"}

    async def send(message: Message) -> None:
        said.sent.append(message)
        started.set()

    async def run() -> None:
        try:
            await app({"type": "lifespan", "asgi": {"version": "3.0"}}, receive, send)
        except Exception as error:  # noqa: BLE001 - a server lives on after any of them
            said.error = error
        started.set()
        ended.set()

    async with anyio.create_task_group() as group:
        group.start_soon(run)
        await started.wait()
        try:
            yield said
        finally:
            stopping.set()
            with anyio.CancelScope(shield=True):
                await ended.wait()


def site(page: Page) -> Application:
    """Return an application whose every path answers with what the page returns, as JSON."""

    async def app(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            for kind in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{kind}.complete"})
            return
        said = await page(scope["session"])
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": json.dumps(said).encode()})

    return app
