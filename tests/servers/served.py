"""
A real server with its workers, and browsers that come through a new connection each time.

::

    with served(commands.GUNICORN, workers=4) as server:
        pids = server.wait_members()            # every worker is a member that knows the others
        browsers = server.browsers(4)
        visits(browsers, 50)                    # each counts exactly, whoever answers
        server.stop()                           # with goodbyes, and nothing is left
"""

from __future__ import annotations

import http.client
import json
import os
import shlex
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tests.cluster.processes import (
    ROOT,
    WAIT_S,
    Processes,
    Server,
    free_ports,
    random_secret,
    wait_until,
)

FOLDER = Path(__file__).parent
PORT_IN_COMMANDS = "8000"
GONE = r"Received member disappeared: .*\((.*)\)$"
MEMBERS_S = 120.0
"""Bound on all workers being there, one after the other; each loads the application."""
GOODBYE = "said goodbye"


@dataclass
class Answer:
    """What came back."""

    status: int
    told: dict[str, Any]


@dataclass
class Browser:
    """Keeps its cookie, but no connection: any worker may answer."""

    port: int
    n: int = 0
    """What it has counted to."""
    cookie: str | None = None
    pids: dict[int, int] = field(default_factory=dict)
    """Who answered, and how often."""

    def ask(self, method: str, path: str) -> Answer:
        """Ask once."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=WAIT_S)
        try:
            headers = {"Connection": "close"}
            if self.cookie is not None:
                headers["Cookie"] = self.cookie
            connection.request(method, path, headers=headers)
            response = connection.getresponse()
            body = response.read()
            given = response.getheader("Set-Cookie")
            if given is not None:
                self.cookie = given.partition(";")[0]
            is_told = (response.getheader("Content-Type") or "").startswith("application/json")
            return Answer(response.status, json.loads(body) if is_told else {"body": body})
        finally:
            connection.close()

    def _asked(self, method: str, path: str) -> int:
        answer = self.ask(method, path)
        assert answer.status == 200, answer
        pid = answer.told["pid"]
        self.pids[pid] = self.pids.get(pid, 0) + 1
        n: int = answer.told["n"]
        return n

    def count(self) -> None:
        """Count one more: exactly one, whoever answers."""
        n = self._asked("POST", "/count")
        assert n == self.n + 1, f"{n} after {self.n}"
        self.n = n

    def read(self) -> None:
        """Read: what was written last is there, whoever answers."""
        n = self._asked("GET", "/")
        assert n == self.n, f"read {n} after {self.n} was written"

    def visit(self) -> None:
        """Write, and read it."""
        self.count()
        self.read()

    def visit_or_look(self) -> bool:
        """
        The same while workers are replaced; return whether all was answered.

        A server may close a connection that it has accepted and not read from yet. Then nobody
        knows whether the write was made; but the session is there, with it or without.
        """
        try:
            self.visit()
        except (ConnectionError, http.client.HTTPException):
            n = self._asked("GET", "/")
            assert n in (self.n, self.n + 1), f"{n} after {self.n}"
            self.n = n
            return False
        return True


def at_once(calls: Sequence[Callable[[], object]]) -> list[Any]:
    """Call all, each on a thread of its own, and return what came of them."""
    with ThreadPoolExecutor(len(calls)) as pool:
        return [future.result() for future in [pool.submit(call) for call in calls]]


class Load:
    """Browsers that write and read all the time, until they are told to stop."""

    def __init__(self, browsers: Sequence[Browser]) -> None:
        self._is_over = threading.Event()
        self._pool = ThreadPoolExecutor(len(browsers))
        self._running = [self._pool.submit(self._several, browser) for browser in browsers]

    @property
    def has_failed(self) -> bool:
        """Whether one has given up, because a session was not what it should be."""
        return any(each.done() for each in self._running)

    def stop(self) -> None:
        """End it; what failed is raised."""
        self._is_over.set()
        self._pool.shutdown()
        visited, closed = map(sum, zip(*(each.result() for each in self._running), strict=True))
        print(f"{visited} visits meanwhile, {closed} of them on connections that were closed")

    def _several(self, browser: Browser) -> tuple[int, int]:
        visited = closed = 0
        while not self._is_over.is_set():
            visited += 1
            closed += not browser.visit_or_look()
        return visited, closed


@contextmanager
def visiting(browsers: Sequence[Browser]) -> Iterator[Load]:
    """Let all browsers write and read until the block ends."""
    load = Load(browsers)
    try:
        yield load
    finally:
        load.stop()


def visits(browsers: Sequence[Browser], count: int) -> dict[int, int]:
    """Let all browsers write and read at the same time; return who answered how often."""

    def several(browser: Browser) -> None:
        for _ in range(count):
            browser.visit()

    started = time.monotonic()
    at_once([partial(several, browser) for browser in browsers])
    took_s = time.monotonic() - started
    requests = 2 * count * len(browsers)
    print(f"{requests} requests took {took_s:.1f} s: {requests / took_s:.0f} a second")
    answered: dict[int, int] = {}
    for browser in browsers:
        for pid, times in browser.pids.items():
            answered[pid] = answered.get(pid, 0) + times
    return answered


class Served:
    """
    One server.

    Args:
        server: Its first process.
        workers: How many processes serve.
    """

    def __init__(self, server: Server, workers: int) -> None:
        self.server = server
        self.workers = workers
        self.port = server.port

    def browser(self) -> Browser:
        """Return a browser without a cookie."""
        return Browser(self.port)

    def browsers(self, count: int) -> list[Browser]:
        """Return browsers without cookies."""
        return [self.browser() for _ in range(count)]

    def members(self) -> dict[int, dict[str, Any]]:
        """Ask at once, several times as often as there are workers; return what each said."""

        def ask() -> dict[str, Any] | None:
            try:
                answer = self.browser().ask("GET", "/member")
            except (OSError, http.client.HTTPException):
                # Nobody listens yet, or a worker is being replaced.
                return None
            return answer.told if answer.status == 200 else None

        found = at_once([ask] * (3 * self.workers))
        return {told["pid"]: told for told in found if told is not None}

    def wait_members(self, without: Sequence[int] = (), others: int | None = None) -> list[int]:
        """
        Wait until every worker is a member that is ready and knows all others; return their ids.

        Args:
            without: Ids of processes that must not be there any more.
            others: How many members each knows; None: the other workers.
        """
        wanted = self.workers - 1 if others is None else others
        told: dict[int, dict[str, Any]] = {}

        def pids() -> list[int]:
            assert self.server.is_running, f"it has ended; {self.server.output.shown()}"
            told.update(self.members())
            for pid in [pid for pid in told if not is_alive(pid)]:
                del told[pid]
            are_whole = all(one["ready"] and one["others"] == wanted for one in told.values())
            is_complete = len(told) == self.workers and are_whole
            return sorted(told) if is_complete and not set(without) & set(told) else []

        try:
            what = f"{self.workers} members that know {wanted} others"
            return wait_until(pids, what, MEMBERS_S)
        except AssertionError as error:
            raise AssertionError(f"{error}: {told}; {self.server.output.shown()}") from None

    def kill(self, pid: int) -> None:
        """End one worker as ``kill -9`` does."""
        os.kill(pid, signal.SIGKILL)

    def read_everywhere(self, browsers: Sequence[Browser], pids: Sequence[int]) -> None:
        """
        Let each browser read until every worker has answered it: all have what it wrote.

        Nobody waits for a worker that was recycled meanwhile.
        """

        def is_seen(browser: Browser) -> bool:
            browser.read()
            return all(pid in browser.pids or not is_alive(pid) for pid in pids)

        for browser in browsers:
            browser.pids.clear()
        for browser in browsers:
            wait_until(partial(is_seen, browser), "read everywhere")

    def booted(self) -> list[int]:
        """Return all workers that gunicorn has started so far."""
        found = self.server.output.matches(r"Booting worker with pid: (\d+)")
        return [int(match[1]) for match in found]

    def gone(self, after: int = 0) -> list[str]:
        """Return why members say that others have disappeared."""
        return [match[1] for match in self.server.output.matches(GONE, after)]

    def stop(
        self,
        signal_number: signal.Signals = signal.SIGTERM,
        code: int = 0,
        *,
        is_patient: bool = True,
    ) -> None:
        """
        Ask it to end; every worker says goodbye, and nothing is left.

        Args:
            signal_number: The signal.
            code: Its exit code.
            is_patient: Whether it lets every worker end, and not only the first one.
        """
        after = self.server.output.mark()
        self.server.send_signal(signal_number)
        assert self.server.wait() == code, self.server.output.shown()
        wait_until(lambda: not self.server.left_behind(), "nothing is left")
        self.server.output.drain()
        stopped = self.server.output.matches("Cluster has stopped$", after)
        if is_patient:
            assert len(stopped) == self.workers, self.server.output.shown()
            assert set(self.gone(after)) <= {GOODBYE}, self.server.output.shown()
        assert stopped, self.server.output.shown()
        assert not self.server.output.matches("Traceback"), self.server.output.shown()


@contextmanager
def served(
    command: str,
    *,
    workers: int = 1,
    environment: Mapping[str, str] | None = None,
    secret: str | None = None,
    folder: Path = FOLDER,
    cwd: Path | None = None,
) -> Iterator[Served]:
    """
    Start a server by its command line in ``docs/servers.md``, and end it.

    Args:
        command: The line; its port is replaced by a free one, its program by this Python's.
        workers: How many processes will serve.
        environment: Variables beside those of the tests.
        secret: Of the cluster; None: one that nobody else has.
        folder: Where the shop lies.
        cwd: Where to start; None: there.
    """
    (port,) = free_ports(1)
    program, *arguments = shlex.split(command.replace(PORT_IN_COMMANDS, str(port)))
    line = [sys.executable, "-m", MODULES.get(program, program), *arguments]
    variables = {
        "PYTHONPATH": os.pathsep.join((str(folder), str(ROOT))),
        "SHOP_SECRET": secret or random_secret(),
        **(environment or {}),
    }
    with Processes() as processes:
        server = processes.server(
            line, port=port, name=program, environment=variables, cwd=cwd or folder
        )
        yield Served(server, workers)


MODULES = {"waitress-serve": "waitress"}
"""Programs of which the module has another name."""


def is_alive(pid: int) -> bool:
    """Tell whether a process is there, perhaps as one that has ended and was not looked after."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
