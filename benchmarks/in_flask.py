"""
What sessions add to a request under Flask, in process: ours, Flask's own, Flask-Session with Redis.

A second member runs in another process, over TLS, and gets every write. The Redis server is a real
one, started for this on a free port of this host. All configurations run in every round, in
changing order; only ratios of one round are compared.

Processor time is that of this process with its threads: encryption, acknowledgements and the
client of Redis are in it, the Redis server and the second member are not. Ours is counted until the
second member has acknowledged the last write. Wall time is that of the requests alone.

A session has 3 attributes of 60 characters and a counter. rw reads and increments the counter, ro
reads it. There are 16 sessions in rotation, one request at a time.
"""

from __future__ import annotations

import importlib.util
import io
import secrets
import shutil
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from flask import Flask, session

from benchmarks.harness import SESSIONS, added, schedule, second_member
from replsession import Cluster
from replsession.flask import ReplicatedSession

GOALS = {"cookie": 0.20, "redis": 0.12}
"""Ratio of a request that reads and writes."""
PATHS = ("/rw", "/ro")
ALIGNED = 12


def _fill() -> str:
    for name in ("first", "second", "third"):
        session[name] = secrets.token_hex(30)
    session["n"] = 0
    return ""


def _rw() -> str:
    session["n"] = session["n"] + 1
    return ""


def _ro() -> str:
    return str(session["n"])


def _plain() -> str:
    return ""


def _application(secret: str | None) -> Flask:
    app = Flask("benchmark")
    app.secret_key = secret
    app.add_url_rule("/fill", view_func=_fill)
    app.add_url_rule("/rw", "rw", _plain if secret is None else _rw)
    app.add_url_rule("/ro", "ro", _plain if secret is None else _ro)
    return app


@dataclass
class Driver:
    """Calls one application as a server does."""

    name: str
    app: Flask
    settle: Callable[[], None] = lambda: None
    """Wait until all is done that the requests have begun."""
    cookies: list[str] = field(default_factory=list)
    costs: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    """Processor time and wall time of a request, in microseconds."""

    def request(self, path: str, cookie: str | None) -> str | None:
        """Do one request; return the cookie that it set."""
        environ: dict[str, Any] = {
            "REQUEST_METHOD": "GET",
            "SCRIPT_NAME": "",
            "PATH_INFO": path,
            "QUERY_STRING": "",
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "HTTP_HOST": "localhost",
            "HTTP_USER_AGENT": "benchmark",
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(),
            "wsgi.errors": io.StringIO(),
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }
        if cookie is not None:
            environ["HTTP_COOKIE"] = cookie
        given: list[str] = []

        def start_response(
            status: str, headers: list[tuple[str, str]], exc_info: Any = None
        ) -> Any:
            assert status == "200 OK", status
            given.extend(value for name, value in headers if name == "Set-Cookie")

        response = self.app.wsgi_app(environ, start_response)
        for _ in response:
            pass
        response.close()  # type: ignore[attr-defined]
        return given[0].partition(";")[0] if given else None

    def prepare(self) -> None:
        """Begin the sessions."""
        for _ in range(SESSIONS):
            cookie = self.request("/fill", None)
            assert cookie is not None
            self.cookies.append(cookie)

    def measure(self, path: str, requests: int) -> None:
        """Do a round's requests and note what one cost."""
        cookies = self.cookies or ["a=b"] * SESSIONS
        processor, wall = time.process_time(), time.perf_counter()
        for number in range(requests):
            browser = number % SESSIONS
            cookies[browser] = self.request(path, cookies[browser]) or cookies[browser]
        wall = time.perf_counter() - wall
        self.settle()
        processor = time.process_time() - processor
        cost = (processor / requests * 1e6, wall / requests * 1e6)
        self.costs.setdefault(path, []).append(cost)


def run(rounds: int, requests: int) -> None:
    """Measure and print."""
    with ExitStack() as stack:
        ours = stack.enter_context(_ours())
        drivers = [Driver("bare", _application(None)), ours]
        drivers.append(Driver("cookie", _application(secrets.token_urlsafe(32))))
        redis = stack.enter_context(_redis())
        if redis is not None:
            drivers.append(redis)
        for driver in drivers[1:]:
            driver.prepare()
        by_name = {driver.name: driver for driver in drivers}
        for driver, path in schedule(drivers, PATHS, rounds):
            driver.measure(path, requests)
        for number, what in enumerate(("processor", "wall")):
            _print(by_name, number, f"added {what} time per request, µs: median of rounds (range)")


@contextmanager
def _ours() -> Iterator[Driver]:
    secret = secrets.token_urlsafe(32)
    cluster = Cluster.local(member_name="first")
    app = _application(secret)
    ReplicatedSession(app, cluster=cluster)
    channel = cluster.attach(secret, required=True)

    def settle() -> None:
        while channel.metrics.deltas_acknowledged < channel.metrics.deltas_sent:
            time.sleep(0.001)

    with second_member(secret):
        cluster.start()
        while not (cluster.is_ready and cluster.members):
            time.sleep(0.01)
        yield Driver("replsession", app, settle)
        channel.stop_thread()


@contextmanager
def _redis() -> Iterator[Driver | None]:
    missing = [name for name in ("flask_session", "redis") if not importlib.util.find_spec(name)]
    program = shutil.which("redis-server")
    if missing or program is None:
        print("left out: Flask-Session with Redis. To compare with it: pip install flask-session")
        print("redis msgspec, and a redis-server in PATH (Debian: apt-get install redis-server)\n")
        yield None
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        line = [program, "--bind", "127.0.0.1", "--port", str(port), "--dir", folder, "--save", ""]
        with subprocess.Popen(line, stdout=subprocess.DEVNULL) as server:
            try:
                yield Driver("redis", _with_redis(port))
            finally:
                server.terminate()


def _with_redis(port: int) -> Flask:
    from flask_session import Session  # type: ignore[import-not-found, unused-ignore]
    from redis import Redis  # type: ignore[import-not-found, unused-ignore]
    from redis.exceptions import (  # type: ignore[import-not-found, unused-ignore]
        ConnectionError as NotYet,
    )

    client = Redis(port=port)
    while True:
        try:
            client.ping()
            break
        except NotYet:
            time.sleep(0.05)
    app = _application(secrets.token_urlsafe(32))
    app.config |= {"SESSION_TYPE": "redis", "SESSION_REDIS": client}
    Session(app)
    return app


def _print(drivers: dict[str, Driver], number: int, title: str) -> None:
    def figures(name: str, path: str) -> list[float]:
        return [cost[number] for cost in drivers[name].costs[path]]

    print(f"{title}\n")
    peers = [name for name in ("cookie", "redis") if name in drivers]
    print(f"{'':4}{'bare':>8}" + "".join(f"{name:>24}" for name in ["replsession", *peers]), end="")
    print("".join(f"{'to ' + name:>{ALIGNED}}" for name in peers))
    for path in PATHS:
        base = figures("bare", path)
        costs = {name: added(figures(name, path), base) for name in ("replsession", *peers)}
        line = f"{path[1:]:4}{statistics.median(base):>8.1f}"
        for found in costs.values():
            spread = f"({min(found):.0f}-{max(found):.0f})"
            line += f"{statistics.median(found):>{ALIGNED}.1f}{spread:>{ALIGNED}}"
        for name in peers:
            pairs = zip(costs["replsession"], costs[name], strict=True)
            line += f"{statistics.median(mine / other for mine, other in pairs):>{ALIGNED}.2f}"
        print(line)
    if number == 0:
        goals = ", ".join(f"≤ {GOALS[name]:.2f} of {name}" for name in peers)
        print(f"goal of rw: {goals}")
    print()
