"""Django's real handlers: the calls that a WSGI and an ASGI server make."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpResponse, StreamingHttpResponse

from tests.django.project import SEEN, Browser, pages


def test_wsgi(browser: Browser) -> None:
    def page(request: Any) -> StreamingHttpResponse:
        request.session["n"] = 1

        def body() -> Iterator[bytes]:
            request.session["late"] = True
            yield b"x"

        return StreamingHttpResponse(body())

    pages["one"] = page
    environ: dict[str, Any] = {}
    setup_testing_defaults(environ)
    environ.update(PATH_INFO="/page/one", QUERY_STRING="")
    sent: list[tuple[str, str]] = []

    def start_response(status: str, headers: list[tuple[str, str]], info: Any = None) -> Any:
        sent.extend(headers)
        return lambda data: None

    parts = validator(WSGIHandler())(environ, start_response)
    assert b"".join(parts) == b"x"
    parts.close()  # type: ignore[attr-defined]
    cookies = [value.strip().partition(";")[0] for name, value in sent if name == "Set-Cookie"]
    for cookie in cookies:
        name, _, value = cookie.partition("=")
        browser.client.cookies[name] = value
    assert len(cookies) == 2
    assert browser.content() == {"n": 1, "late": True}


class Server:
    """Calls Django as an ASGI server does."""

    def __init__(self, path: str, cookies: str = "") -> None:
        self.scope: dict[str, Any] = {
            "type": "http",
            "http_version": "1.1",
            "method": "GET",
            "path": path,
            "query_string": b"",
            "headers": [(b"host", b"here"), (b"cookie", cookies.encode())],
        }
        self.sent: list[dict[str, Any]] = []
        self.is_gone = asyncio.Event()
        self.has_sent = asyncio.Event()
        self._has_asked = False

    async def receive(self) -> dict[str, Any]:
        """Send an empty body, and later that the client is gone."""
        if not self._has_asked:
            self._has_asked = True
            return {"type": "http.request", "body": b""}
        await self.is_gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        """Take what Django sends."""
        self.sent.append(message)
        if message.get("body"):
            self.has_sent.set()

    @property
    def cookies(self) -> list[str]:
        """The cookies that were set."""
        headers = self.sent[0]["headers"]
        return [
            value.decode().partition(";")[0] for name, value in headers if name == b"Set-Cookie"
        ]


def test_asgi_where_the_client_leaves_in_the_middle_of_a_stream(browser: Browser) -> None:
    async def page(request: Any) -> StreamingHttpResponse:
        await request.session.aset("n", 1)

        async def body() -> AsyncIterator[bytes]:
            await request.session.aset("late", True)
            yield b"x"
            await asyncio.sleep(3600)

        return StreamingHttpResponse(body())

    async def scenario() -> list[str]:
        pages["one"] = page
        server = Server("/async/one")
        call = asyncio.create_task(ASGIHandler()(server.scope, server.receive, server.send))
        await server.has_sent.wait()
        server.is_gone.set()
        await call
        return server.cookies

    cookies = asyncio.run(scenario())
    assert [cookie.partition("=")[0] for cookie in cookies] == ["sessionid", SEEN]
    for cookie in cookies:
        name, _, value = cookie.partition("=")
        browser.client.cookies[name] = value
    assert browser.content() == {"n": 1, "late": True}


def test_asgi_with_plain_views(browser: Browser) -> None:
    async def ask(cookies: str) -> Server:
        server = Server("/page/one", cookies)
        handler = ASGIHandler()
        call = asyncio.create_task(handler(server.scope, server.receive, server.send))
        await server.has_sent.wait()
        server.is_gone.set()
        await call
        return server

    def page(request: Any) -> Any:
        request.session.setdefault("cart", []).append(1)
        return HttpResponse(len(request.session["cart"]))

    pages["one"] = page
    cookies = ""
    for number in range(1, 4):
        server = asyncio.run(ask(cookies))
        cookies = "; ".join(server.cookies)
        assert server.sent[1]["body"] == str(number).encode()
