"""Directed scenarios: what becomes of sessions, in stories that random seeds reach rarely."""

from __future__ import annotations

from dataclasses import replace

import pytest

from replsession.config import KIB, Limits, NodeConfig
from replsession.session.change import Change
from replsession.session.record import SECRET
from tests.simulation.cluster import Cluster
from tests.simulation.oracle import greatest_in
from tests.simulation.stories import (
    LONG_CUT_S,
    SHORT,
    agree,
    cluster_of,
    create,
    create_idle,
    invalidate,
    members,
    values,
    write,
)
from tests.simulation.swarm import Weather

pytestmark = pytest.mark.simulation


class TestWriting:
    def test_rotation_and_a_write_at_the_same_time_keep_both(self) -> None:
        cluster = cluster_of()
        key = create(cluster.processes["a"])
        cluster.run(1.0)
        assert write(cluster.processes["a"], key, **{SECRET: b"n" * 16})
        assert write(cluster.processes["b"], key, cart=b"\x02")
        cluster.run(1.0)
        for process in members(cluster):
            record = process.open(key)
            assert record is not None
            assert record.value(SECRET) == b"n" * 16
            assert record.values() == {"cart": b"\x02"}

    def test_slow_request_cannot_bring_an_ended_session_back(self) -> None:
        cluster = cluster_of()
        key = create(cluster.processes["a"])
        cluster.run(1.0)
        a, b, _ = members(cluster)
        slow, here = a.open(key), b.open(key)
        assert slow is not None
        assert here is not None
        read = greatest_in(slow)
        invalidate(b, key)
        assert a.commit(Change(key, {"cart": b"\x09"}), read) is not None, "a does not know yet"
        a.carry()
        cluster.run(1.0)
        assert a.commit(Change(key, {"cart": b"\x0a"}), read) is None
        for process in members(cluster):
            assert values(process, key) is None

    def test_write_while_the_window_is_shut_does_not_pass_a_concurrent_one(self) -> None:
        # a joins two of its deltas into one, and b writes between them: b's write is the newer one.
        cluster = cluster_of(limits=Limits(window_bytes=1), weather=Weather((0.05, 0.06)))
        a, b, _ = members(cluster)
        key = create(a)
        cluster.run(2.0)
        assert write(a, key, blocks=b"\x00")
        assert write(a, key, cart=b"\x01")
        cluster.run(0.01)
        assert write(b, key, cart=b"\x02")
        cluster.run(0.01)
        assert write(a, key, theme=b"\x03")
        cluster.run(2.0)
        for process in members(cluster):
            found = values(process, key)
            assert found is not None
            assert found["cart"] == b"\x02"
        agree(cluster)

    def test_record_in_pieces_whose_first_piece_is_lost_claims_nothing(self) -> None:
        limits = Limits(
            piece_bytes=100, chunk_bytes=100, value_bytes_max=KIB, frame_bytes_max=64 * KIB
        )
        cluster = cluster_of("ab", limits=limits, started=False)
        cluster.start("a")
        cluster.run(2.0)
        a = cluster.processes["a"]
        key = create(a, 1, **{name: name.encode() * 90 for name in "uvwxyz"})
        assert write(a, key, u=b"new")
        cluster.network.weather = replace(cluster.network.weather, frame_loss=0.4)
        # Which frames are lost is chance: one start alone may well go without a harm.
        for _ in range(10):
            cluster.start("b")
            cluster.run(10.0)
            cluster.crash("b")
        assert cluster.network.frames_sent > 100
        cluster.network.weather = Weather()
        cluster.start("b")
        cluster.run(30.0)
        agree(cluster)


class TestLongCuts:
    """Cuts longer than tombstones are kept: DESIGN.md 3a, rules 1 and 2."""

    def test_sessions_of_both_halves_survive_and_ended_ones_stay_dead(self) -> None:
        cluster = cluster_of("ab", timing=SHORT)
        a, b = members(cluster)
        kept, ended = create(a, 1), create(b, 2)
        cluster.run(1.0)
        pairs = cluster.pairs(["a"], ["b"])
        cluster.network.cut(pairs)
        cluster.run(4.0)
        of_a, of_b = create(a, 3), create(b, 4)
        invalidate(a, ended)
        assert write(b, kept, cart=b"\x05")
        assert write(b, ended, cart=b"\x06")
        cluster.run(LONG_CUT_S)
        assert ended not in a.node.store.keys(2), "a has forgotten"
        cluster.network.mend(pairs)
        cluster.run(10.0)
        for process in (a, b):
            assert values(process, kept) == {"cart": b"\x05"}
            assert values(process, of_a) is not None
            assert values(process, of_b) is not None
            assert values(process, ended) is None
        cluster.run(LONG_CUT_S)
        assert len(a.node.store) == len(b.node.store) == 3, "nothing is left of the ended one"

    def test_joiner_takes_over_what_its_donor_has_forgotten(self) -> None:
        cluster = cluster_of("abc", timing=SHORT)
        a, _, c = members(cluster)
        ended = create(c, 1)
        cluster.run(1.0)
        cluster.network.cut(cluster.pairs(["c"], ["a", "b"]))
        cluster.run(4.0)
        invalidate(a, ended)
        cluster.run(LONG_CUT_S)
        cluster.crash("b")
        b = cluster.start("b")
        cluster.run(3.0)
        assert b.node.is_ready
        cluster.crash("a")
        cluster.network.mend(cluster.pairs(["c"], ["a", "b"]))
        cluster.run(10.0)
        for process in (b, c):
            assert values(process, ended) is None

    def test_member_with_a_slow_clock_loses_no_session_to_what_others_forgot(self) -> None:
        # One scalar for all members would end the sessions of the one whose clock is behind.
        config = NodeConfig(timing=SHORT)
        cluster = Cluster(1, ("a", "b"), config, skews_s=(0.0, -3600.0))
        a = cluster.start("a")
        cluster.run(2.0)
        ended = create(a, 1)
        invalidate(a, ended)
        cluster.run(LONG_CUT_S)
        cluster.network.cut(cluster.pairs(["a"], ["b"]))
        b = cluster.start("b")
        cluster.run(3.0)
        alone = create(b, 2)
        cluster.network.mend(cluster.pairs(["a"], ["b"]))
        cluster.run(10.0)
        for process in (a, b):
            assert values(process, alone) is not None

    def test_old_tombstone_is_no_answer_but_a_new_one_is(self) -> None:
        # Past its retention and not swept yet, a tombstone would not be taken by anybody.
        timing = replace(SHORT, sweep_interval_s=1000.0)
        cluster = cluster_of("ab", timing=timing)
        a, b = members(cluster)
        ended = create(a, 1)
        cluster.run(1.0)
        pairs = cluster.pairs(["a"], ["b"])
        cluster.network.cut(pairs)
        cluster.run(4.0)
        invalidate(a, ended)
        cluster.run(LONG_CUT_S)
        assert len(a.node.store) == 1, "not swept"
        cluster.network.mend(pairs)
        cluster.run(10.0)
        assert values(b, ended) is None


class TestSleeping:
    """Idle sessions: DESIGN.md 3a, rule 3, as far as it is built."""

    def test_idle_session_is_over_for_all_and_goes(self) -> None:
        cluster = cluster_of()
        a, b, c = members(cluster)
        key = create_idle(a, 10.0)
        cluster.run(9.0)
        assert values(b, key) is not None, "this request keeps it"
        b.carry()
        cluster.run(9.0)
        assert values(c, key) is not None
        c.carry()
        cluster.run(10.5)
        for process in (a, b, c):
            assert values(process, key) is None
        cluster.run(30.0)
        assert [len(process.node.store) for process in (a, b, c)] == [0, 0, 0]

    def test_write_in_one_half_wakes_what_fell_asleep_in_the_other(self) -> None:
        cluster = cluster_of("ab")
        a, b = members(cluster)
        key = create_idle(a, 10.0)
        cluster.run(1.0)
        pairs = cluster.pairs(["a"], ["b"])
        cluster.network.cut(pairs)
        for number in range(6):
            cluster.run(5.0)
            assert write(a, key, cart=bytes([number]))
        assert values(b, key) is None
        cluster.network.mend(pairs)
        cluster.run(7.0)
        assert values(b, key) == {"cart": b"\x05"}
        agree(cluster)
