"""
A browser and a WSGI server in one, for tests of front doors: the twin of ``browser.py``.

A response goes on one chunk at a time if a test wants it, so a test decides in which order two
requests that overlap go on. What servers and applications owe each other is held on the outer side
of every application by ``wsgiref.validate``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any
from urllib.parse import unquote_to_bytes
from wsgiref.types import StartResponse, WSGIApplication
from wsgiref.util import FileWrapper, setup_testing_defaults
from wsgiref.validate import validator

from replsession.wsgi import WsgiSession
from tests.browser import COOKIE, NEVER, Answer

Environ = dict[str, Any]
ExcInfo = tuple[type[BaseException], BaseException, TracebackType]
Page = Callable[[WsgiSession], object]


class Running:
    """
    A request that a server is answering, as PEP 3333 says a server does it.

    Args:
        app: The application.
        environ: Of the request.
    """

    def __init__(self, app: WSGIApplication, environ: Environ) -> None:
        self.answer = Answer()
        self.are_headers_sent = False
        self._said: tuple[str, list[tuple[str, str]]] | None = None
        self.iterable = app(environ, self._start)
        self._chunks: Iterator[bytes] | None = None

    def _start(
        self, status: str, headers: list[tuple[str, str]], exc_info: Any = None, /
    ) -> Callable[[bytes], object]:
        if exc_info is None:
            assert self._said is None, "start_response was called twice"
        elif self.are_headers_sent:
            raise exc_info[1].with_traceback(exc_info[2])
        self._said = (status, headers)
        return self._send

    def _send(self, chunk: bytes) -> None:
        assert self._said is not None, "data before start_response"
        if not self.are_headers_sent and chunk:
            self._send_headers()
        self.answer.body += chunk

    def _send_headers(self) -> None:
        assert self._said is not None, "no start_response"
        status, headers = self._said
        self.answer.status = int(status.split()[0])
        self.answer.headers = [
            (name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers
        ]
        self.are_headers_sent = True

    def step(self) -> bool:
        """Send the next chunk; return whether there was one."""
        if self._chunks is None:
            self._chunks = iter(self.iterable)
        for chunk in self._chunks:
            self._send(chunk)
            return True
        if not self.are_headers_sent:
            self._send_headers()
        return False

    def close(self) -> None:
        """Close the iterable, as a server does in any case."""
        close = getattr(self.iterable, "close", None)
        if close is not None:
            close()

    def finish(self) -> Answer:
        """Send the rest, and close."""
        try:
            while self.step():
                pass
        finally:
            self.close()
        return self.answer


class WsgiBrowser:
    """
    Keeps the cookie of one application.

    Args:
        app: The application, its middleware around it.
        cookie: What it holds at the beginning.
    """

    def __init__(self, app: WSGIApplication, cookie: str | None = None) -> None:
        self.app = app
        self.cookie = cookie

    def open(self, path: str = "/", **environ: Any) -> Running:
        """
        Ask for a page, and let the test say how it goes on.

        Args:
            path: Percent-encoded, as it stands in the request's first line, without a query.
            environ: Changes of the environ; a key with None is left out.
        """
        return Running(validator(self.app), self.environ(path, **environ))

    def get(self, path: str = "/", **environ: Any) -> Answer:
        """Ask for a page, and keep the cookie that it sends."""
        answer = self.open(path, **environ).finish()
        self.keep(answer)
        return answer

    def environ(self, path: str, **changes: Any) -> Environ:
        """Return the environ of a request."""
        environ: Environ = {
            "REQUEST_METHOD": "GET",
            "SCRIPT_NAME": "",
            "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
            "QUERY_STRING": "",
            "REQUEST_URI": path,
            "HTTP_HOST": "here",
            "wsgi.file_wrapper": FileWrapper,
        }
        if self.cookie is not None:
            environ["HTTP_COOKIE"] = f"other=1; {COOKIE}={self.cookie}"
        environ.update(changes)
        setup_testing_defaults(environ)
        return {name: value for name, value in environ.items() if value is not None}

    def keep(self, answer: Answer) -> None:
        """Keep the cookie that an answer sends."""
        for cookie in answer.values("set-cookie"):
            if cookie.startswith(f"{COOKIE}="):
                self.cookie = None if NEVER in cookie else answer.cookie


def wsgi_site(page: Page) -> WSGIApplication:
    """Return an application whose every path answers with what the page returns, as JSON."""

    def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        body = json.dumps(page(environ["replsession.session"])).encode()
        start_response("200 OK", [("Content-Type", "application/json")])
        return [body]

    return validator(app)
