"""
Members under load that are killed, stopped, restarted or slow: nothing is lost, nobody waits.

Browsers hop to a random member at each request, write their own attribute of shared sessions at the
same time, and end some. In the end all members hold the same, and what was promised.
"""

from __future__ import annotations

import time

import pytest

from tests.cluster.figures import overlapping, percentile
from tests.cluster.load import ANSWER_S
from tests.cluster.loaded import Load, LoadedCluster
from tests.cluster.members import Member
from tests.cluster.processes import wait_until

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240)]

REQUESTS = 400
"""Of a phase of a test: about a second."""
ANSWERED_WITHIN_S = 2.0
"""No request takes longer: all waits that the product allows itself are a quarter of it."""
TINY = {"window_bytes": 4 * 1024, "outbox_deltas_max": 8, "outbox_bytes_max": 64 * 1024}
"""Limits of the product that this load passes within a second."""
RECORD_BYTES_MAX = 8 * 1024
"""More than any session of this load has; an outbox may pass its limit by one whole record."""


def assert_nobody_waited(
    load: Load, members: list[Member], without: tuple[float, float], under: tuple[float, float]
) -> None:
    """Assert that requests to these members took no time to speak of, and print what they took."""
    figures = []
    for since, until in (without, under):
        took = [o.end - o.start for o in load.between(since, until, *members)]
        assert len(took) > 100
        figures += [percentile(took, 0.5), percentile(took, 0.99), max(took)]
    print(
        "p50, p99 and longest request, without: {:.1f}, {:.1f}, {:.1f} ms; under: {:.1f}, {:.1f}, "
        "{:.1f} ms".format(*(1000 * figure for figure in figures))
    )
    assert max(figures) < ANSWERED_WITHIN_S < ANSWER_S


def test_nothing_differs_after_concurrent_load(cluster: LoadedCluster) -> None:
    with cluster.load() as load:
        load.wait_answers(4 * REQUESTS)
    history = cluster.check(load)
    assert not [operation for operation in history.operations if operation.status == 0]
    assert history.ends
    assert overlapping(history)


def test_a_member_is_killed_and_comes_back_on_the_same_address(cluster: LoadedCluster) -> None:
    one, two, three = cluster.members
    with cluster.load() as load:
        load.wait_answers(REQUESTS)
        marks = [member.mark() for member in (one, three)]
        killed_at = two.kill()
        for member, mark in zip((one, three), marks, strict=True):
            member.wait_gone(two, after=mark)
        print(f"noticed by both after {time.monotonic() - killed_at:.3f} s")
        load.wait_answers(REQUESTS)
        two.start()
        two.wait_ready()
        load.wait_answers(REQUESTS // 4, two)
    cluster.check(load)


def test_members_are_restarted_one_by_one_and_no_session_is_lost(cluster: LoadedCluster) -> None:
    with cluster.load() as load:
        load.wait_answers(REQUESTS)
        for member in cluster.members:
            member.stop()
            member.start()
            member.wait_ready()
        load.wait_answers(REQUESTS)
    cluster.check(load)


class OutboxesFor:
    """What waits for a member on each of the others, looked at again and again."""

    def __init__(self, cluster: LoadedCluster, member: Member, others: list[Member]) -> None:
        self._cluster = cluster
        self._member = member
        self._others = others
        self._marks = [other.mark() for other in others]
        self._looks: list[dict[str, int]] = []

    def look(self) -> bool:
        """Look once; return whether all others take the member for gone."""
        states = self._cluster.states(self._others).values()
        boxes = [state["outboxes"].get(self._member.name) for state in states if state is not None]
        self._looks += [box for box in boxes if box is not None]
        return all(
            other.has_gone(self._member, after=mark)
            for other, mark in zip(self._others, self._marks, strict=True)
        )

    def overflows(self) -> list[int]:
        """Return how often an outbox was emptied so far, on each of the others."""
        states = self._cluster.states(self._others).values()
        return [state["metrics"]["outboxes_overflowed"] for state in states if state is not None]

    def assert_bounded(self) -> None:
        """Assert that no look saw more than the limits allow."""
        most = {name: max(box[name] for box in self._looks) for name in self._looks[0]}
        print(f"{len(self._looks)} looks, most seen in an outbox: {most}")
        assert most["deltas"] <= TINY["outbox_deltas_max"]
        assert most["bytes"] <= TINY["outbox_bytes_max"] + RECORD_BYTES_MAX


def test_nobody_waits_for_a_hung_member(possible: None) -> None:
    with LoadedCluster.made(3, **TINY) as cluster:
        *others, hung = cluster.members
        with cluster.load() as load:
            load.wait_answers(2 * REQUESTS)
            outboxes = OutboxesFor(cluster, hung, others)
            overflows = outboxes.overflows()
            with hung.paused() as paused_at:
                wait_until(outboxes.look, "a hung member is noticed by both others")
                load.wait_answers(REQUESTS)
                until = time.monotonic()
                more = outboxes.overflows()
            load.wait_answers(REQUESTS // 4, hung)
        cluster.check(load)

        assert_nobody_waited(load, others, (load.started_at, paused_at), (paused_at, until))
        print(f"outboxes emptied: {overflows} times before, {more} times afterwards")
        assert [after > before for before, after in zip(overflows, more, strict=True)] == [True] * 2
        outboxes.assert_bounded()


def test_nobody_waits_for_a_member_on_a_slow_link(cluster: LoadedCluster) -> None:
    one, two, slow = cluster.members
    with cluster.load() as load:
        load.wait_answers(2 * REQUESTS)
        since = time.monotonic()
        with cluster.network.slow(slow.host, "64kbit"):
            load.wait_answers(2 * REQUESTS)
            until = time.monotonic()
        load.wait_answers(REQUESTS)
    cluster.check(load)
    assert_nobody_waited(load, [one, two], (load.started_at, since), (since, until))
