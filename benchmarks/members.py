"""
What a cluster of processes does: lag, acknowledged writes, detection, repair, state transfer.

Members are processes on this host, over TLS on loopback. What is printed beside each figure is the
goal for one machine of two cores; a machine that does other things at the same time is slower.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

SESSIONS_CHANGED = 10_000
CUT_S = 10.0


class Process:
    """A member that obeys; see ``peer.py``."""

    def __init__(self, name: str, secret: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.peer"],
            env={**os.environ, "BENCHMARK_SECRET": secret, "BENCHMARK_MEMBER": name},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.ready_s = 0.0

    def wait_ready(self) -> None:
        """Wait until the member has its state."""
        self.ready_s = self.answer()["ready_s"]

    def tell(self, do: str, **named: Any) -> None:
        """Give a command, and do not wait for what comes of it."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": do, **named}) + "\n")
        self._process.stdin.flush()

    def answer(self) -> Any:
        """Return what came of the oldest command that was not answered yet."""
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())

    def do(self, do: str, **named: Any) -> Any:
        """Give a command and return what came of it."""
        self.tell(do, **named)
        return self.answer()

    def signal(self, number: int) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def end(self) -> None:
        """End the process, stopped or not."""
        self._process.kill()
        self._process.communicate()


@contextmanager
def members(count: int) -> Iterator[list[Process]]:
    """Start members one after another, each ready before the next."""
    secret = secrets.token_hex(16)
    started: list[Process] = []
    try:
        for number in range(count):
            started.append(Process(f"member-{number}", secret))
            started[-1].wait_ready()
        until(lambda: all(one.do("status")["members"] == count - 1 for one in started))
        yield started
    finally:
        for one in started:
            one.end()


def until(condition: Any, within_s: float = 120.0) -> float:
    """Ask until it is true, and return how long that took."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > within_s:
            raise TimeoutError("a member did not do what it should")
        time.sleep(0.01)
    return time.monotonic() - began


def show(what: str, found: str, goal: str) -> None:
    """Print one row."""
    print(f"{what:<58}{found:<34}goal: {goal}", flush=True)


def quantiles(values: Sequence[float], unit: str = "µs") -> str:
    """Return median and 99th percentile as text."""
    ordered = sorted(values)
    p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    return f"p50 {statistics.median(ordered):,.0f}  p99 {p99:,.0f} {unit}"


def lag_and_acknowledgement(writes: int) -> None:
    """Lag of a write, idle and loaded, and what an acknowledged one costs more."""
    with members(3) as (first, second, third):
        first.do("fill", first=0, count=64)
        time.sleep(0.5)
        took: dict[str, list[float]] = {"async": [], "one": [], "all": []}
        for part in range(5):
            for concern in took:
                found = first.do("write", count=writes // 5, pause_s=0.002, concern=concern)
                took[concern] += found
            if part == 0:
                second.do("lags")
        show("lag, commit on A to visible on B", quantiles(second.do("lags")), "p50 ≤ 220 µs")
        first.do("write", count=writes, pause_s=0.01, concern="async", loaded=10)
        time.sleep(0.2)
        show(
            "the same at 1 000 writes/s beside it",
            quantiles(second.do("lags")),
            "p99 ≤ 0.5 × Tomcat",
        )
        third.do("lags")
        base = statistics.median(took["async"])
        for concern in ("one", "all"):
            extra = [value - base for value in took[concern]]
            show(
                f"extra latency of concern {concern!r}, two others",
                quantiles(extra),
                "p50 ≤ 180 µs",
            )


def detection(rounds: int) -> None:
    """How long it takes to notice a killed process, and one that hangs."""
    for what, number, goal in (
        ("killed (SIGKILL)", signal.SIGKILL, "≤ 250 ms"),
        ("hung (SIGSTOP)", signal.SIGSTOP, "≤ 4 500 ms"),
    ):
        took_ms: list[float] = []
        for _ in range(rounds):
            with members(2) as (first, second):
                first.tell("alone_at", within_s=10.0)
                time.sleep(0.3)
                at = time.monotonic()
                second.signal(number)
                took_ms.append((first.answer() - at) * 1000)
        show(
            f"a process that is {what} is noticed after",
            f"{statistics.median(took_ms):,.0f} ms",
            goal,
        )


def convergence() -> None:
    """How long two halves need to level out after a cut in which both changed sessions."""
    with members(2) as (first, second):
        first.do("fill", first=0, count=2 * SESSIONS_CHANGED)
        until(lambda: first.do("digest") == second.do("digest"))
        for one in (first, second):
            one.tell("cut")
        first.answer(), second.answer()
        began = time.monotonic()
        first.tell("change", first=0, count=SESSIONS_CHANGED // 2)
        second.tell("change", first=SESSIONS_CHANGED, count=SESSIONS_CHANGED // 2)
        first.answer(), second.answer()
        time.sleep(max(0.0, CUT_S - (time.monotonic() - began)))
        for one in (first, second):
            one.tell("mend")
        first.answer(), second.answer()
        linked_s = until(lambda: first.do("status")["members"] == 1)
        took_s = until(lambda: first.do("digest") == second.do("digest"))
    found = f"{took_s:.2f} s (link back after {linked_s:.2f} s)"
    show(
        f"{CUT_S:.0f} s cut, {SESSIONS_CHANGED:,} of {2 * SESSIONS_CHANGED:,} changed: level",
        found,
        "none stated",
    )


def state_transfer(sizes: Sequence[int]) -> None:
    """How long a member that starts needs until it has all sessions."""
    for size in sizes:
        secret = secrets.token_hex(16)
        donor, joiner = Process("donor", secret), None
        try:
            donor.wait_ready()
            donor.do("fill", first=0, count=size)
            joiner = Process("joiner", secret)
            joiner.wait_ready()
            assert joiner.do("fill", first=0, count=0) == size
            rate = size / joiner.ready_s
            found = f"{joiner.ready_s:.2f} s ({rate:,.0f}/s, start included)"
            show(f"state transfer of {size:,} sessions", found, "≥ 150 000/s")
        finally:
            donor.end()
            if joiner is not None:
                joiner.end()


def run(writes: int, rounds: int, sizes: Sequence[int]) -> None:
    """Print all rows."""
    machine = f"{os.cpu_count()} processors, CPython {sys.version.split()[0]}"
    print(f"Members as processes on loopback, over TLS; {machine}\n")
    lag_and_acknowledgement(writes)
    detection(rounds)
    convergence()
    state_transfer(sizes)
