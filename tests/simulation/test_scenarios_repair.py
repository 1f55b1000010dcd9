"""Directed scenarios: members that differ, and how they come to agree again."""

from __future__ import annotations

import pytest

from replsession.config import KIB, Limits
from replsession.events import OutboxOverflowed
from tests.simulation.cluster import Cluster
from tests.simulation.stories import (
    agree,
    cluster_of,
    create,
    key_of,
    members,
    told,
    values,
    write,
)
from tests.simulation.swarm import Weather

pytestmark = pytest.mark.simulation

TINY = Limits(chunk_bytes=1)
TINIEST = Limits(chunk_bytes=1, repair_digests_max=1, repair_records_max=1)
ROUND_TRIPS_S = 0.5
"""Many more round trips than a round has here, and a tenth of the time between two rounds."""


def rounds(cluster: Cluster) -> int:
    """Return how many rounds were finished by all members together."""
    return sum(process.node.metrics.repair_rounds for process in cluster.live())


def cut_off(cluster: Cluster, name: str) -> list[tuple[str, str]]:
    """Cut a member off from all others, and wait until all know."""
    others = [other for other in cluster.names if other != name]
    pairs = cluster.pairs([name], others)
    cluster.network.cut(pairs)
    cluster.run(cluster.config.timing.drop_after_s + 1.0)
    return pairs


class TestDyingWriter:
    @pytest.mark.parametrize("names", ["abc", "abcde"])
    def test_survivors_level_out_at_once_when_it_dies_between_two_frames(self, names: str) -> None:
        split = 0
        for after in range(1, 20):
            cluster = Cluster(after, tuple(names))
            cluster.start_all()
            a, *others = members(cluster)
            cluster.run(1.0)
            a.dies_after = 1 + after % (len(names) - 2)
            key = create(a, 1)
            cluster.run(0.05)
            assert not a.is_alive
            told_to = [process.name for process in others if values(process, key) is not None]
            split += 0 < len(told_to) < len(others)
            cluster.run(ROUND_TRIPS_S)
            for process in others:
                assert (values(process, key) is not None) == bool(told_to), (told_to, process.name)
            agree(cluster)
        assert split > 3

    def test_survivors_level_out_when_it_hangs_with_half_of_it_told(self) -> None:
        cluster = cluster_of("abcd")
        a, b, c, d = members(cluster)
        cluster.network.cut(cluster.one_way(["a"], ["c", "d"]))
        key = create(a, 1)
        cluster.run(0.1)
        cluster.pause("a")
        assert [values(process, key) is not None for process in (b, c, d)] == [True, False, False]
        cluster.run(cluster.config.timing.drop_after_s + 1.0)
        for process in (b, c, d):
            assert values(process, key) is not None


class TestDiffering:
    @pytest.mark.parametrize("limits", [TINY, TINIEST], ids=["chunks", "all bounds"])
    def test_a_round_trip_for_each_record_and_all_agree_after_one_round(
        self, limits: Limits
    ) -> None:
        cluster = cluster_of("ab", limits=limits, weather=Weather((0.002, 0.003)))
        a, b = members(cluster)
        shared = [create(a, number) for number in range(0, 60, 3)]
        cluster.run(1.0)
        pairs = cut_off(cluster, "a")
        mine = [create(a, number) for number in range(1, 60, 3)]
        theirs = [create(b, number) for number in range(2, 60, 3)]
        for number, key in enumerate(shared):
            assert write((a, b)[number % 2], key, cart=bytes([number]))
        cluster.network.mend(pairs)
        before = rounds(cluster)
        while rounds(cluster) == before:
            cluster.run(0.01)
        for process in (a, b):
            assert all(values(process, key) is not None for key in mine + theirs)
        agree(cluster)

    def test_a_member_that_dies_in_the_middle_of_a_round_is_forgotten_by_it(self) -> None:
        cluster = cluster_of(limits=TINY, weather=Weather((0.02, 0.03)))
        a, b, c = members(cluster)
        pairs = cut_off(cluster, "c")
        for number in range(30):
            create(a, number)
        cluster.network.mend(pairs)
        while len(c.node.store) < 5:
            cluster.run(0.01)
        partners = [p.name for p in (a, b) if p.node.repairer.rounds.running is not None]
        running = c.node.repairer.rounds.running
        if running is not None:
            partners.append(next(p.name for p in (a, b) if p.node.me.id == running.member))
        cluster.crash(partners[0])
        cluster.run(10.0)
        agree(cluster)
        assert len(c.node.store) == 30
        for process in cluster.live():
            assert process.node.repairer.rounds.running is None

    def test_overflow_is_levelled_out_as_soon_as_the_window_is_open(self) -> None:
        limits = Limits(window_bytes=1, outbox_deltas_max=5, chunk_bytes=100)
        cluster = cluster_of("ab", limits=limits)
        a, b = members(cluster)
        # Their turns come at this time, and not before.
        cluster.run(5.0 - cluster.now % 5.0 + 0.5)
        a.post(lambda node, now: [create(a, number) for number in range(50)])
        cluster.run(0.01)
        assert told(cluster, "a", OutboxOverflowed)
        cluster.run(1.5)
        assert len(b.node.store) == 50
        agree(cluster)


class TestLongRecords:
    def test_one_that_changes_between_its_pieces_claims_what_it_was_before_them(self) -> None:
        # a gives its record to b piece by piece; meanwhile it learns of a write of c's, which b
        # does not hear of. Version and content of what b gets must be of one moment.
        limits = Limits(
            piece_bytes=100, chunk_bytes=100, value_bytes_max=KIB, frame_bytes_max=64 * KIB
        )
        cluster = cluster_of("abc", limits=limits, weather=Weather((0.02, 0.03)))
        a, b, c = members(cluster)
        pairs = cut_off(cluster, "b")
        key = create(a, 1, **{name: name.encode() * 90 for name in "uvwxyz"})
        cluster.run(1.0)
        cluster.network.mend(pairs)
        cluster.network.cut(between := cluster.pairs(["b"], ["c"]))
        while (held := b.node.store.peek(key)) is None or len(held.attributes) < 3:
            cluster.run(0.005)
        assert not held.complete
        assert write(c, key, u=b"new")
        while (held := b.node.store.peek(key)) is None or not held.complete:
            cluster.run(0.005)
        assert values(a, key) is not None
        cluster.run(10.0)
        found = values(b, key)
        assert found is not None
        assert found["u"] == b"new"
        cluster.network.mend(between)
        cluster.run(10.0)
        agree(cluster)

    def test_links_that_break_between_its_pieces_leave_it_partial(self) -> None:
        limits = Limits(
            piece_bytes=100, chunk_bytes=100, value_bytes_max=KIB, frame_bytes_max=64 * KIB
        )
        cluster = cluster_of("ab", limits=limits, weather=Weather((0.02, 0.03)))
        a, b = members(cluster)
        pairs = cut_off(cluster, "b")
        key = create(a, 1, **{name: name.encode() * 90 for name in "uvwxyz"})
        cluster.network.mend(pairs)
        while (held := b.node.store.peek(key)) is None or len(held.attributes) < 3:
            cluster.run(0.005)
        for end in cluster.network.ends_of(a):
            cluster.network.reset(end, "connection reset")
        cluster.run(0.05)
        assert values(b, key) is None, "it is served when it is whole"
        cluster.run(10.0)
        assert values(b, key) == values(a, key)
        agree(cluster)


def test_both_sides_of_a_cut_pay_for_what_differs_only() -> None:
    cluster = cluster_of("ab")
    a, b = members(cluster)
    for number in range(500):
        create(a, number)
    cluster.run(1.0)
    pairs = cut_off(cluster, "b")
    assert write(a, key_of(3), cart=b"\x07")
    assert write(b, key_of(4), cart=b"\x08")
    sent = [process.node.metrics.records_repaired for process in (a, b)]
    cluster.network.mend(pairs)
    cluster.run(10.0)
    agree(cluster)
    # Each record goes both ways, once for each of the two that repair.
    repaired = [process.node.metrics.records_repaired for process in (a, b)]
    assert sum(repaired) - sum(sent) <= 8
