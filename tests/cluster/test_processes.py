"""The helper itself: what it waits for, what it says when it waits in vain, and that it reaps."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from tests.cluster.processes import Processes, free_ports, wait_until

PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print("child", child.pid)
time.sleep(600)
"""


@pytest.fixture
def processes() -> Iterator[Processes]:
    """Yield the helper; whatever a test starts with it is reaped."""
    with Processes() as started:
        yield started


def test_a_line_is_waited_for_and_later_ones_are_told_from_earlier_ones(
    processes: Processes,
) -> None:
    process = processes.python("-c", "for _ in range(2): print('ready', input())")
    process.type("one\n")
    assert process.output.wait_for(r"ready (\w+)")[1] == "one"
    mark = process.output.mark()
    process.type("two\n")
    assert process.output.wait_for(r"ready (\w+)", after=mark)[1] == "two"
    assert process.wait() == 0
    process.output.assert_in_order(["one", "two"])
    with pytest.raises(AssertionError, match=r"no 'one' after 2 lines \(its output has ended\)"):
        process.output.assert_in_order(["two", "one"])


def test_a_wait_in_vain_shows_what_was_printed(processes: Processes) -> None:
    process = processes.python("-c", "print('something else')", name="talker")
    with pytest.raises(AssertionError, match=r"(?s)talker.*its output has ended.*something else"):
        process.output.wait_for("ready")


def test_a_condition_that_never_holds_fails_the_test() -> None:
    with pytest.raises(AssertionError, match=r"the moon: not within 0\.05 s"):
        wait_until(lambda: False, "the moon", timeout_s=0.05)


def test_a_killed_process_is_reaped_at_once(processes: Processes) -> None:
    process = processes.python("-c", "import time; print('here'); time.sleep(600)")
    process.output.wait_for("here")
    process.kill()
    assert process.exit_code == -signal.SIGKILL
    with pytest.raises(ProcessLookupError):
        os.kill(process.pid, 0)


def test_what_a_killed_process_leaves_behind_is_found_and_ended() -> None:
    with Processes() as processes:
        process = processes.python("-c", PARENT)
        child = int(process.output.wait_for(r"child (\d+)")[1])
        process.kill()
        assert process.left_behind() == [child]
    assert process.left_behind() == []


def test_free_ports_are_different() -> None:
    assert len(set(free_ports(20))) == 20
