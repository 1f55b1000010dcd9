"""A seed is one story, whatever Python's hashes are and however many processes run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.ranges import verdicts
from tests.simulation.run import run_seed
from tests.simulation.swarm import draw

pytestmark = [pytest.mark.simulation, pytest.mark.timeout(120)]

ROOT = Path(__file__).parents[2]


def printed(seed: int, hash_seed: str) -> str:
    """Return what the command prints for a seed in a process of its own."""
    command = [sys.executable, "-m", "tests.simulation", "--seed", str(seed)]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


@pytest.mark.parametrize("seed", [3, 30])
def test_same_trace_under_two_hash_seeds(seed: int) -> None:
    one, other = printed(seed, "1"), printed(seed, "4242")
    assert one == other
    assert "every promise held" in one
    assert len(one.splitlines()) > 1000


def test_showing_the_trace_changes_nothing() -> None:
    assert printed(3, "7").splitlines()[-1] == f"trace {run_seed(3).trace_hash}"


def test_two_seeds_are_two_stories() -> None:
    assert run_seed(3).trace_hash != run_seed(4).trace_hash


def test_number_of_processes_makes_no_difference() -> None:
    assert list(verdicts(range(6), processes=2)) == list(verdicts(range(6), processes=1))


def test_swarm_is_drawn_from_the_seed_alone() -> None:
    assert draw(5, 3) == draw(5, 3)
    assert draw(5, 3) != draw(6, 3)
