"""
How soon members know that another one has left: on purpose, killed, or hung.

Nothing here asserts how long it took. The goals: at once (0.1 s) for a goodbye, 0.25 s for a killed
process, 4.5 s for one that hangs.
"""

from __future__ import annotations

import time

import pytest

from tests.cluster.loaded import LoadedCluster
from tests.cluster.members import Member

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240)]


def wait_gone(others: list[Member], gone: Member, marks: list[int], since: float) -> list[str]:
    """Wait until the others know that a member is gone; print what it took, and return why."""
    reasons = [
        member.wait_gone(gone, after=mark) for member, mark in zip(others, marks, strict=True)
    ]
    print(f"known to all others after {time.monotonic() - since:.3f} s: {reasons}")
    return reasons


def test_a_graceful_stop_is_known_at_once(cluster: LoadedCluster) -> None:
    one, leaving, three = cluster.members
    others = [one, three]
    marks = [member.mark() for member in others]
    since = time.monotonic()
    leaving.ask_to_stop()
    assert wait_gone(others, leaving, marks, since) == ["said goodbye"] * 2
    leaving.wait_stopped()

    leaving.start()
    leaving.wait_ready()
    cluster.settle()


def test_a_killed_process_is_known_quickly(cluster: LoadedCluster) -> None:
    one, killed, three = cluster.members
    others = [one, three]
    marks = [member.mark() for member in others]
    since = killed.kill()
    reasons = wait_gone(others, killed, marks, since)
    # Known by its closed sockets, not by its silence.
    assert not [reason for reason in reasons if "silent" in reason]

    killed.start()
    killed.wait_ready()
    cluster.settle()


def test_a_hung_process_is_noticed_and_blames_nobody(cluster: LoadedCluster) -> None:
    one, hung, three = cluster.members
    others = [one, three]
    marks = [member.mark() for member in others]
    own_mark = hung.mark()
    with hung.paused() as since:
        wait_gone(others, hung, marks, since)
    cluster.settle()
    assert [hung.has_gone(member, after=own_mark) for member in others] == [False, False]
