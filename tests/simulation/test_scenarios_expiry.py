"""Directed scenarios: sessions that end by themselves, on members whose clocks do not agree."""

from __future__ import annotations

import pytest

from replsession.config import KIB, Limits, NodeConfig, Timing
from replsession.events import LinkRefused
from replsession.identity import Key
from replsession.messages import Access, Accesses
from replsession.session.change import Change
from replsession.session.record import Record
from replsession.session.sleeping import Sleepers
from replsession.session.stamp import HLC_MAX, OBSERVED_MAX, Stamp
from replsession.wire import encoding
from tests.simulation.cluster import Cluster
from tests.simulation.process import Process
from tests.simulation.stories import (
    SHORT,
    agree,
    cluster_of,
    create,
    create_idle,
    key_of,
    members,
    told,
    values,
    write,
)
from tests.simulation.swarm import Weather

pytestmark = pytest.mark.simulation

IDLE_S = 10.0
NO_REPAIR = Timing(repair_interval_s=10_000.0)
"""Nothing but a new link makes members compare what they have."""
HOUR_S = 3600.0


def read(process: Process, key: Key) -> dict[str, bytes] | None:
    """Let a request read a session, and let leave what follows from it."""
    found = values(process, key)
    process.carry()
    return found


def held(process: Process, key: Key) -> Record:
    """Return what a member holds of a session."""
    record = process.node.store.peek(key)
    assert record is not None
    return record


def until(cluster: Cluster, time: float) -> None:
    """Let time pass until then."""
    cluster.run(time - cluster.now)


class TestNotices:
    """Who served a session last says that it is over; everybody judges by what he knows."""

    def test_others_follow_long_before_their_grace_is_over(self) -> None:
        cluster = cluster_of(timing=NO_REPAIR)
        a, b, c = members(cluster)
        key = create_idle(a, IDLE_S)
        until(cluster, 3.0 + IDLE_S - 0.1)
        assert not any(held(process, key).asleep for process in (a, b, c))
        until(cluster, 3.0 + IDLE_S + 0.5)
        assert all(held(process, key).asleep for process in (a, b, c))
        assert a.node.metrics.expirations_sent == 1

    def test_without_one_others_wait_for_the_grace(self) -> None:
        cluster = cluster_of(timing=NO_REPAIR)
        a, b, c = members(cluster)
        key = create_idle(a, IDLE_S)
        cluster.run(0.5)
        cluster.crash("a")
        until(cluster, 3.0 + IDLE_S + 2.9)
        assert not held(b, key).asleep
        assert not held(c, key).asleep
        until(cluster, 3.0 + IDLE_S + 3.5)
        assert held(b, key).asleep
        assert held(c, key).asleep

    def test_a_fresher_access_is_the_answer_and_wakes(self) -> None:
        cluster = cluster_of("ab", timing=NO_REPAIR)
        a, b = members(cluster)
        key = create_idle(a, IDLE_S)
        until(cluster, 3.5)
        assert read(b, key) is not None
        # Less than a tenth of the interval after what each has told last: told to nobody.
        until(cluster, 3.8)
        assert read(a, key) is not None
        until(cluster, 4.2)
        assert read(b, key) is not None
        until(cluster, 3.8 + IDLE_S + 0.28)
        assert a.node.metrics.sessions_expired == a.node.metrics.sessions_woken == 1
        assert not held(a, key).asleep
        assert not held(b, key).asleep
        until(cluster, 4.2 + IDLE_S + 0.5)
        assert held(a, key).asleep
        assert held(b, key).asleep


class TestAges:
    def test_news_that_were_held_back_make_no_access_later(self) -> None:
        cluster = cluster_of("ab", timing=NO_REPAIR)
        a, b = members(cluster)
        key = create_idle(a, IDLE_S)
        cluster.run(0.2)
        way = cluster.one_way(["a"], ["b"])
        cluster.network.cut(way)
        peer = a.node.peers.get(b.node.me.id)
        assert peer is not None
        a.post(lambda node, now: node.peers.put_record(peer, held(a, key), now))
        cluster.run(2.5)
        cluster.network.mend(way)
        until(cluster, 3.0 + IDLE_S + 0.5)
        assert held(b, key).asleep

    def test_first_access_here_is_told_however_fresh_the_session_looks(self) -> None:
        cluster = cluster_of("ab", timing=NO_REPAIR)
        a, b = members(cluster)
        way = cluster.one_way(["a"], ["b"])
        cluster.network.cut(way)
        key = create_idle(a, IDLE_S)
        cluster.run(2.3)
        cluster.network.mend(way)
        until(cluster, 5.8)
        # To b the session is half a second old, to a nearly three.
        assert read(b, key) is not None
        until(cluster, 3.0 + IDLE_S + 1.0)
        assert a.node.metrics.sessions_expired == 0

    def test_access_here_is_told_though_a_fast_clock_names_an_older_one(self) -> None:
        skews_s = (0.6, 0.0)
        cluster = Cluster(1, ("a", "b"), NodeConfig(timing=NO_REPAIR), skews_s=skews_s)
        cluster.start_all()
        a, b = members(cluster)
        key, other = create_idle(a, IDLE_S), create(b)
        until(cluster, 7.5)
        # The next batch of b has to wait for a second after this one.
        b.node.requests.announced[other] = held(b, other).access, b.now
        b.post(lambda node, now: node.timer_fired(now))
        cluster.network.slowed[cluster.host("a")] = 0.4
        assert read(a, key) is not None
        a.post(lambda node, now: node.timer_fired(now))
        cluster.run(0.3)
        assert read(b, key) is not None
        cluster.run(1.5)
        assert held(b, key).access.member == a.node.me.id
        assert held(a, key).last_accessed - a.now == pytest.approx(-1.5, abs=0.1)

    def test_request_counts_though_an_access_elsewhere_looks_as_fresh(self) -> None:
        cluster = cluster_of("ab", timing=NO_REPAIR)
        a, b = members(cluster)
        key = create_idle(a, IDLE_S)
        cluster.run(0.2)
        way = cluster.one_way(["a"], ["b"])
        cluster.network.cut(way)
        assert write(a, key, cart=b"\x07")
        cluster.run(2.3)
        cluster.network.mend(way)
        while held(b, key).value("cart") != b"\x07":
            cluster.run(0.001)
        assert read(b, key) is not None
        peer = a.node.peers.get(b.node.me.id)
        assert peer is not None
        a.post(lambda node, now: node.peers.put_record(peer, held(a, key), now))
        until(cluster, 3.2 + IDLE_S + 1.5)
        assert read(b, key) is not None

    def test_clocks_an_hour_apart_neither_lose_nor_prolong_a_session(self) -> None:
        # The access by the slow clock is the later one, with the lesser stamp.
        skews_s = (HOUR_S, 0.0)
        cluster = Cluster(1, ("a", "b"), NodeConfig(timing=NO_REPAIR), skews_s=skews_s)
        cluster.start_all()
        a, b = members(cluster)
        key = create_idle(b, IDLE_S)
        cluster.run(0.5)
        pairs = cluster.pairs(["a"], ["b"])
        cluster.network.cut(pairs)
        until(cluster, 5.0)
        assert read(a, key) is not None
        until(cluster, 9.0)
        assert read(b, key) is not None
        assert held(b, key).access < held(a, key).access
        cluster.network.mend(pairs)
        until(cluster, 5.0 + IDLE_S + 1.0)
        assert a.node.metrics.sessions_woken == 1
        assert not held(a, key).asleep
        until(cluster, 9.0 + IDLE_S + 1.0)
        assert held(a, key).asleep
        assert held(b, key).asleep

    def test_a_session_that_is_used_ends_with_its_lifetime_all_the_same(self) -> None:
        cluster = cluster_of(timing=NO_REPAIR)
        a, b, c = members(cluster)
        key = create_idle(a, IDLE_S, lifetime_s=12.0)
        for _ in range(5):
            cluster.run(2.0)
            assert read(b, key) is not None
        until(cluster, 3.0 + 12.5)
        assert all(held(process, key).asleep for process in (a, b, c))
        slow = Change(key, {"cart": b"\x09"})
        assert c.commit(slow) is None
        assert [process.node.metrics.sessions_woken for process in (a, b, c)] == [0, 0, 0]


class TestSleeping:
    """What is over is hidden and not lost: DESIGN.md 3a, rule 3."""

    def test_write_in_the_half_that_went_idle_is_not_lost(self) -> None:
        cluster = cluster_of("ab")
        a, b = members(cluster)
        key = create_idle(a, IDLE_S)
        cluster.run(1.0)
        pairs = cluster.pairs(["a"], ["b"])
        cluster.network.cut(pairs)
        cluster.run(0.5)
        assert write(a, key, cart=b"\x07")
        for _ in range(4):
            cluster.run(4.0)
            assert read(b, key) == {"cart": b"\x01"}
        assert held(a, key).asleep
        cluster.network.mend(pairs)
        for _ in range(4):
            cluster.run(4.0)
            assert read(b, key) is not None
        for process in (a, b):
            assert values(process, key) == {"cart": b"\x07"}
        agree(cluster)

    def test_who_lacks_something_of_a_sleeping_session_gets_it(self) -> None:
        # No notice reaches b, which waits for its grace; a has told all when it drops its own.
        cluster = cluster_of("ab")
        a, b = members(cluster)
        key = create_idle(a, 100.0)
        cluster.run(1.0)
        pairs = cluster.pairs(["a"], ["b"])
        cluster.network.cut(pairs)
        cluster.run(0.5)
        assert write(a, key, cart=b"\x07")
        until(cluster, 105.5)
        assert held(a, key).asleep
        cluster.network.mend(pairs)
        while a.node.store.peek(key) is not None:
            cluster.run(0.1)
        assert cluster.now < 3.0 + 100.0 + 12.0
        assert held(b, key).value("cart") == b"\x07"

    def test_member_that_is_not_ready_must_be_told_as_well(self) -> None:
        cluster = cluster_of("ab", timing=NO_REPAIR)
        a, _ = members(cluster)
        cluster.leave("b")
        cluster.run(1.0)
        again = cluster.start("b").node.me.id
        while again not in a.node.membership.link_of:
            cluster.run(0.001)
        # It serves requests, and that it is ready is never heard.
        cluster.network.cut(cluster.pairs(["a"], ["b"]))
        assert not a.node.membership.view.is_ready(again)
        key = create_idle(a, IDLE_S)
        cluster.run(IDLE_S + 4.0)
        assert held(a, key).asleep
        assert held(a, key).unshared

    def test_slow_request_wakes_what_fell_asleep_before_it_committed(self) -> None:
        cluster = cluster_of(timing=NO_REPAIR)
        a, b, c = members(cluster)
        key = create_idle(a, IDLE_S, cart=b"\x01", theme=b"\x02")
        until(cluster, 3.0 + IDLE_S + 1.0)
        assert held(a, key).asleep
        assert held(b, key).asleep
        assert b.commit(Change(key, {"cart": b"\x03"})) is not None
        b.carry()
        cluster.run(0.5)
        for process in (a, b, c):
            assert values(process, key) == {"cart": b"\x03", "theme": b"\x02"}

    def test_joiner_is_given_what_sleeps_as_sleeping(self) -> None:
        a, b, key = one_that_joins()
        while not b.node.is_ready:
            a.cluster.run(0.01)
        assert held(b, key).asleep
        assert values(b, key) is None
        assert held(b, key).values() == {name: name.encode() * 90 for name in "uvwxyz"}

    def test_record_of_which_pieces_were_dropped_claims_nothing(self) -> None:
        # The checkers look at what b claims after each piece.
        a, b, key = one_that_joins()
        b.node.store.sleepers = Sleepers(400)
        while not b.node.is_ready:
            a.cluster.run(0.01)
        assert b.node.metrics.sleeping_dropped > 0
        assert b.node.store.peek(key) is None or not held(b, key).complete


def one_that_joins() -> tuple[Process, Process, Key]:
    """Return a member with a large sleeping session, one that joins it, and the session's key."""
    limits = Limits(
        piece_bytes=100,
        chunk_bytes=100,
        value_bytes_max=KIB,
        frame_bytes_max=64 * KIB,
        transfer_window_chunks=1,
    )
    weather = Weather((0.02, 0.03))
    cluster = cluster_of(limits=limits, timing=NO_REPAIR, weather=weather)
    a, _, _ = members(cluster)
    cluster.crash("b")
    # While c may have news, nothing that sleeps is dropped.
    cluster.network.cut(cluster.pairs(["a"], ["c"]))
    key = create_idle(a, IDLE_S, None, **{name: name.encode() * 90 for name in "uvwxyz"})
    cluster.run(IDLE_S + 1.0)
    assert held(a, key).asleep
    return a, cluster.start("b"), key


class TestNames:
    """DESIGN.md 3a, rule 7."""

    def test_who_dropped_what_only_it_had_goes_on_under_another_name(self) -> None:
        # The checkers look at what versions claim.
        cluster = cluster_of("ab", timing=SHORT)
        a, b = members(cluster)
        key = create_idle(a, IDLE_S)
        cluster.run(1.0)
        pairs = cluster.pairs(["a"], ["b"])
        cluster.network.cut(pairs)
        cluster.run(1.0)
        assert write(a, key, cart=b"\x07")
        before = a.node.writer
        for _ in range(8):
            cluster.run(4.0)
            assert read(b, key) is not None
        assert a.node.store.peek(key) is None
        cluster.network.mend(pairs)
        for _ in range(3):
            cluster.run(4.0)
            assert read(b, key) is not None
        assert a.node.writer == before
        assert write(a, key, theme=b"\x08")
        assert a.node.writer != before
        assert a.node.me.id == before
        cluster.run(1.0)
        for process in (a, b):
            assert values(process, key) == {"cart": b"\x01", "theme": b"\x08"}
        agree(cluster)
        assert b.node.membership.view.get(before) is not None

    def test_writes_from_before_and_after_stay_apart_while_the_window_is_shut(self) -> None:
        limits = Limits(window_bytes=1)
        cluster = cluster_of("ab", limits=limits, weather=Weather((0.05, 0.06)))
        a, b = members(cluster)
        key = create(a)
        cluster.run(1.0)
        assert write(a, key, cart=b"\x02")
        assert write(a, key, cart=b"\x03", theme=b"\x04")
        a.node.reaper.given_up[key] = None
        assert write(a, key, cart=b"\x05")
        cluster.run(2.0)
        assert values(b, key) == {"cart": b"\x05", "theme": b"\x04"}
        assert held(b, key).version == held(a, key).version
        assert len(held(a, key).version) == 2

    def test_who_shared_everything_gives_nothing_up(self) -> None:
        cluster = cluster_of()
        a, _, _ = members(cluster)
        create_idle(a, 60.0)
        cluster.run(120.0)
        assert [len(process.node.store) for process in members(cluster)] == [0, 0, 0]
        assert [len(process.node.reaper.given_up) for process in members(cluster)] == [0, 0, 0]


class TestPoisonedClock:
    @pytest.mark.parametrize("hlc", [OBSERVED_MAX - 1, OBSERVED_MAX, HLC_MAX - 1])
    def test_who_was_shown_the_end_of_time_is_refused_by_nobody(self, hlc: int) -> None:
        cluster = cluster_of()
        a, b, _ = members(cluster)
        key = create(a)
        cluster.run(1.0)
        links = sorted(cluster.network.ends)
        poison = Accesses((Access(key_of(99), Stamp(hlc, b"insider!"), 0.0),))
        link = a.node.membership.link_of[b.node.me.id]
        frame = encoding.encode(poison)
        a.post(lambda node, now: node.bytes_received(link, frame, now))
        for number in range(5):
            for process in members(cluster):
                assert write(process, key, cart=bytes([number]), **{process.name: b"\x01"})
                cluster.run(0.2)
        assert sorted(cluster.network.ends) == links
        for process in members(cluster):
            assert not told(cluster, process.name, LinkRefused)
            assert values(process, key) == {"cart": b"\x04", **dict.fromkeys("abc", b"\x01")}
        agree(cluster)


class TestShutdown:
    def test_sessions_served_last_here_end_for_all_before_the_goodbye(self) -> None:
        cluster = cluster_of()
        a, b, c = members(cluster)
        keys = [create(a, number) for number in range(1, 200)]
        cluster.run(1.0)
        assert write(b, keys[0], cart=b"\x02")
        cluster.run(0.1)
        a.post(lambda node, now: node.reaper.end_served("/", now))
        cluster.leave("a")
        cluster.run(1.0)
        for process in (b, c):
            found = [key for key in keys if values(process, key) is not None]
            assert found == keys[:1]
