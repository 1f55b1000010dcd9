"""
What a session middleware adds to a request, in process: ours against Starlette's own.

A second member runs in another process, over TLS, and gets every write. Counted is the processor
time of this process, its threads included, so encryption and acknowledgements are in our figure.
All configurations run in every round, in changing order; only ratios of one round are compared.

A session has 3 attributes of 60 characters and a counter. rw reads and increments the counter, ro
reads it, filtered is a path that the valve keeps away from session work. There are 16 sessions in
rotation, and 1 or 16 requests in a turn of the loop.
"""

from __future__ import annotations

import asyncio
import secrets
import statistics
import time
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware as CookieSessionMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from benchmarks.harness import SESSIONS, added, schedule, second_member
from replsession import Cluster, SessionMiddleware

ANCHORS = {"rw": (0.30, 0.45), "ro": (0.20, 0.35)}
"""Ratio to Starlette's middleware: the goal in the long run, and the goal for now."""
App = Callable[[Any, Any, Any], Awaitable[None]]


async def _fill(request: Request) -> Response:
    for name in ("first", "second", "third"):
        request.session[name] = secrets.token_hex(30)
    request.session["n"] = 0
    return Response()


async def _rw(request: Request) -> Response:
    request.session["n"] = request.session["n"] + 1
    return Response()


async def _ro(request: Request) -> Response:
    return Response(str(request.session["n"]))


async def _plain(request: Request) -> Response:
    return Response()


def _application(middleware: list[Middleware]) -> Starlette:
    has_session = bool(middleware)
    return Starlette(
        routes=[
            Route("/fill", _fill),
            Route("/rw", _rw if has_session else _plain),
            Route("/ro", _ro if has_session else _plain),
            Route("/style.css", _plain),
        ],
        middleware=middleware,
    )


@dataclass
class Driver:
    """Calls one application as a server does."""

    name: str
    app: App
    cookies: list[bytes] = field(default_factory=list)
    costs: dict[tuple[str, int], list[float]] = field(default_factory=dict)

    async def request(self, path: str, cookie: bytes | None) -> list[tuple[bytes, bytes]]:
        """Do one request; return the response's headers."""
        headers = [(b"host", b"localhost"), (b"user-agent", b"benchmark")]
        if cookie is not None:
            headers.append((b"cookie", cookie))
        scope: MutableMapping[str, Any] = {
            "type": "http",
            "method": "GET",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "scheme": "http",
            "headers": headers,
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
        }
        answer: list[tuple[bytes, bytes]] = []

        async def receive() -> Any:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                assert message["status"] == 200, message
                answer.extend(message["headers"])

        await self.app(scope, receive, send)
        return answer

    async def prepare(self) -> None:
        """Begin the sessions."""
        for _ in range(SESSIONS):
            for name, value in await self.request("/fill", None):
                if name == b"set-cookie":
                    self.cookies.append(value.split(b";")[0])

    async def visit(self, path: str, browser: int) -> None:
        """Do a request of one browser, which keeps the newest cookie."""
        for name, value in await self.request(path, self.cookies[browser]):
            if name == b"set-cookie":
                self.cookies[browser] = value.split(b";")[0]

    async def measure(self, path: str, at_once: int, requests: int) -> None:
        """Do a round's requests and note the processor time of one, in microseconds."""
        self.cookies = self.cookies or [b"a=b"] * SESSIONS
        began = time.process_time()
        for turn in range(requests // at_once):
            calls = [
                self.visit(path, (turn * at_once + number) % SESSIONS) for number in range(at_once)
            ]
            await asyncio.gather(*calls)
        await asyncio.sleep(0)
        cost = (time.process_time() - began) / requests * 1e6
        self.costs.setdefault((path, at_once), []).append(cost)


async def run(rounds: int, requests: int) -> None:
    """Measure and print."""
    secret = secrets.token_urlsafe(32)
    cluster = Cluster.local(member_name="first")
    ours = Driver(
        "replsession",
        _application([Middleware(SessionMiddleware, secret_key=secret, cluster=cluster)]),
    )
    theirs = Driver("starlette", _application([Middleware(CookieSessionMiddleware, secret)]))
    bare = Driver("bare", _application([]))
    channel = cluster.attach(secret, required=True)
    with second_member(secret):
        await channel.start()
        while not (channel.is_ready and cluster.members):
            await asyncio.sleep(0.01)
        for driver in (ours, theirs):
            await driver.prepare()
        cases = [(path, at_once) for path in ("/rw", "/ro", "/style.css") for at_once in (1, 16)]
        for driver, (path, at_once) in schedule([bare, theirs, ours], cases, rounds):
            await driver.measure(path, at_once, requests)
        while channel.metrics.deltas_acknowledged < channel.metrics.deltas_sent:
            await asyncio.sleep(0.01)
        _print(bare, theirs, ours)
        print(f"\ndeltas sent {channel.metrics.deltas_sent}, frames {channel.metrics.frames_sent}")
    await channel.stop()


def _print(bare: Driver, theirs: Driver, ours: Driver) -> None:
    print("added processor time per request, µs: median of rounds (best)\n")
    print(f"{'case':<18}{'bare':>8}{'starlette':>18}{'replsession':>18}{'ratio':>8}  goal, now")
    for (path, at_once), base in bare.costs.items():
        added_theirs = added(theirs.costs[path, at_once], base)
        added_ours = added(ours.costs[path, at_once], base)
        pairs = zip(added_ours, added_theirs, strict=True)
        ratio = statistics.median(mine / other for mine, other in pairs)
        case = {"/rw": "rw", "/ro": "ro", "/style.css": "filtered"}[path]
        goals = ANCHORS.get(case)
        beside = f"≤ {goals[0]:.2f}, ≤ {goals[1]:.2f}" if goals else "≤ 4 µs"
        print(
            f"{case + f', {at_once} at once':<18}{statistics.median(base):>8.1f}"
            f"{statistics.median(added_theirs):>10.1f} ({min(added_theirs):5.1f})"
            f"{statistics.median(added_ours):>10.1f} ({min(added_ours):5.1f})"
            f"{ratio:>8.2f}  {beside}"
        )
