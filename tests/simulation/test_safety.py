"""Many seeds, each with its own faults: every promise holds in all of them."""

from __future__ import annotations

import time

import pytest

from tests.simulation.ranges import Summary, summary
from tests.simulation.run import FAULTS_MIN

pytestmark = [pytest.mark.simulation, pytest.mark.timeout(1200)]

OPERATIONS_MIN = 400


@pytest.mark.parametrize(
    ("seeds", "members"), [(range(500), 3), (range(1000, 1050), 5)], ids=["3 members", "5 members"]
)
def test_every_promise_holds_under_faults(
    seeds: range, members: int, capsys: pytest.CaptureFixture[str]
) -> None:
    began = time.monotonic()
    found = summary(seeds, members)
    tell(found, members, time.monotonic() - began, capsys)
    assert not found.failing, "\n".join(map(str, found.failing))
    assert len(found.verdicts) == len(seeds)
    assert min(verdict.operations for verdict in found.verdicts) >= OPERATIONS_MIN
    assert min(verdict.faults for verdict in found.verdicts) >= FAULTS_MIN


def test_without_faults_nobody_sees_a_gap(capsys: pytest.CaptureFixture[str]) -> None:
    began = time.monotonic()
    found = summary(range(30), calm=True)
    tell(found, 3, time.monotonic() - began, capsys)
    assert not found.failing, "\n".join(map(str, found.failing))


def tell(found: Summary, members: int, took_s: float, capsys: pytest.CaptureFixture[str]) -> None:
    """Print what a range of seeds came to, also when the test passes."""
    with capsys.disabled():
        print(f"\n{members} members, {took_s:.0f} s on two processes: {found}")
