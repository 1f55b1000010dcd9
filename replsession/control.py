"""
The control URL: what ``replsession status --url`` asks, answered by a member's own web server.

::

    Mount("/replsession", AsgiControl(cluster))                        Starlette, FastAPI
    DispatcherMiddleware(app, {"/replsession": WsgiControl(cluster)})  Flask, any WSGI

Put it outside of the session middleware, or inside: it needs no session. A request is
``POST …/status`` (``sessions``, ``session``, ``invalidate``, ``invalidate_all``) with one object of
JSON, signed with a key that is derived from the cluster's secret. Whatever is not signed is
answered with 403 before anything else is looked at.
"""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from http import HTTPStatus
from typing import Any

from replsession.channel.inquiry import Answer, Inquiries
from replsession.channel.steps import at_once, in_turns
from replsession.channel.waiting import is_asyncio_here
from replsession.cluster import Cluster
from replsession.config import CONTROL_REQUEST_BYTES_MAX
from replsession.errors import ReplsessionError
from replsession.security.signing import HEADER, WrongSignature, check_signature

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_HEADERS = [("Content-Type", "application/json"), ("Cache-Control", "no-store")]


class _Failed(Exception):
    """A request that is not answered: status, and a sentence."""

    def __init__(self, status: HTTPStatus, problem: str) -> None:
        super().__init__(problem)
        self.status = status


class _Door:
    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def _request(self, method: str, path: str, given: str, body: bytes) -> dict[str, Any]:
        """Return what a signed request asks; nobody else's is looked at."""
        last = "/" + path.rpartition("/")[2]
        try:
            key = self._cluster.channel().control_key
            if key is None:
                raise WrongSignature("this process has no cluster, so nobody can sign for it")
            check_signature(key, given, method, last, body, time.time())
        except ReplsessionError as problem:
            # Nobody's: without an application there may be no secret to check a signature with.
            raise _Failed(HTTPStatus.SERVICE_UNAVAILABLE, str(problem)) from None
        except WrongSignature as problem:
            self._cluster.metrics.control_refused += 1
            raise _Failed(HTTPStatus.FORBIDDEN, str(problem)) from None
        if method != "POST":
            raise _Failed(HTTPStatus.METHOD_NOT_ALLOWED, "POST is the only method here")
        try:
            request = json.loads(body) if body else {}
        except (ValueError, RecursionError):
            request = None
        if not isinstance(request, dict):
            raise _Failed(HTTPStatus.BAD_REQUEST, "a request is one object of JSON")
        return {**request, "ask": last[1:]}


class AsgiControl(_Door):
    """
    The control URL as an ASGI application, to be mounted.

    Args:
        cluster: The one that the session middleware uses, too.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _live(receive, send)
            return
        if scope["type"] != "http":
            # Without an acceptance a server refuses it, with 403.
            await send({"type": "websocket.close"})
            return
        name = HEADER.lower().encode()
        given = b"".join(value for key, value in scope["headers"] if key == name).decode("latin-1")
        try:
            body = await _body(receive)
            request = self._request(scope["method"], scope["path"], given, body)
            steps = Inquiries(self._cluster.channel()).steps(request)
            answer = await in_turns(steps) if is_asyncio_here() else at_once(steps)
            status = _status_of(answer)
        except _Failed as failed:
            status, answer = failed.status, {"error": str(failed)}
        data = json.dumps(answer).encode()
        headers = [*_HEADERS, ("Content-Length", str(len(data)))]
        encoded = [(key.lower().encode(), value.encode()) for key, value in headers]
        await send({"type": "http.response.start", "status": int(status), "headers": encoded})
        await send({"type": "http.response.body", "body": data})


class WsgiControl(_Door):
    """
    The control URL as a WSGI application, to be mounted.

    Args:
        cluster: The one that the session middleware uses, too.
    """

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        given = environ.get("HTTP_" + HEADER.upper().replace("-", "_"), "")
        path = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
        try:
            request = self._request(environ["REQUEST_METHOD"], path, given, _input(environ))
            answer = at_once(Inquiries(self._cluster.channel()).steps(request))
            status = _status_of(answer)
        except _Failed as failed:
            status, answer = failed.status, {"error": str(failed)}
        data = json.dumps(answer).encode()
        headers = [*_HEADERS, ("Content-Length", str(len(data)))]
        start_response(f"{int(status)} {status.phrase}", headers)
        return [data]


def _status_of(answer: Answer) -> HTTPStatus:
    return HTTPStatus.BAD_REQUEST if "error" in answer else HTTPStatus.OK


async def _body(receive: Receive) -> bytes:
    body: bytes = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Failed(HTTPStatus.BAD_REQUEST, "the client has gone")
        body += message.get("body", b"")
        if len(body) > CONTROL_REQUEST_BYTES_MAX:
            raise _too_long()
        if not message.get("more_body", False):
            return body


def _input(environ: dict[str, Any]) -> bytes:
    length = environ.get("CONTENT_LENGTH") or "0"
    if not length.isascii() or not length.isdecimal():
        raise _Failed(HTTPStatus.BAD_REQUEST, "Content-Length: a whole number is needed")
    if int(length) > CONTROL_REQUEST_BYTES_MAX:
        raise _too_long()
    return bytes(environ["wsgi.input"].read(int(length)))


def _too_long() -> _Failed:
    problem = f"a request of more than {CONTROL_REQUEST_BYTES_MAX} bytes"
    return _Failed(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, problem)


async def _live(receive: Receive, send: Send) -> None:
    while True:
        kind = (await receive())["type"]
        await send({"type": f"{kind}.complete"})
        if kind == "lifespan.shutdown":
            return
