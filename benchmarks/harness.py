"""What the benchmarks in one process share: who is measured when, and the second member."""

from __future__ import annotations

import gc
import os
import random
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

SESSIONS = 16
"""In rotation."""


class Measured(Protocol):
    """One configuration; what it has cost stands by case, a figure for each round."""

    costs: dict[Any, list[Any]]


Driver = TypeVar("Driver", bound=Measured)
Case = TypeVar("Case")


def schedule(
    drivers: list[Driver], cases: Sequence[Case], rounds: int
) -> Iterator[tuple[Driver, Case]]:
    """
    Yield who is to be measured next, with what: all in each round, in changing order.

    The first round only warms up: what was noted in it is thrown away.
    """
    order = random.Random(1)
    for number in range(rounds + 1):
        for case in cases:
            order.shuffle(drivers)
            for driver in drivers:
                gc.collect()
                yield driver, case
        if number == 0:
            for driver in drivers:
                driver.costs.clear()


def added(costs: list[float], base: list[float]) -> list[float]:
    """Return what was added to the bare application, round by round."""
    return [cost - bare for cost, bare in zip(costs, base, strict=True)]


@contextmanager
def second_member(secret: str) -> Iterator[None]:
    """Run a member in another process while the block runs; it is ready when the block begins."""
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.member"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "BENCHMARK_SECRET": secret},
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdout.readline()
        try:
            yield
        finally:
            process.stdin.close()
