"""Directed scenarios: whose sessions they are, and how all of somebody's end."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from replsession.config import NodeConfig, Timing
from replsession.identity import Key
from replsession.session.change import Change
from replsession.session.codec import encode
from replsession.session.principals import epochs_key
from replsession.session.record import PRINCIPAL, Record
from tests.simulation.cluster import Cluster
from tests.simulation.oracle import greatest_in
from tests.simulation.process import Process
from tests.simulation.stories import (
    agree,
    cluster_of,
    create,
    members,
    values,
    write,
)

pytestmark = pytest.mark.simulation

ALICE = "alice"
PLACE = epochs_key("/", ALICE)
HOUR_S = 3600.0


def log_in(process: Process, number: int = 1, name: str = ALICE) -> Key:
    """Begin a session at a member, as somebody's."""
    key = create(process, number)
    assert write(process, key, **{PRINCIPAL: encode("", name)})
    return key


def end_all(process: Process) -> None:
    """End all of alice's sessions."""
    process.post(lambda node, now: process.end_all(PLACE, ALICE))


def live(process: Process) -> list[Key]:
    """Return alice's sessions, as a member lists them."""
    return sorted(r.key for r in process.node.principals.live("/", ALICE, process.now))


def open_slowly(process: Process, key: Key) -> Callable[[], Record | None]:
    """Begin a request at a member; the result ends it with a write."""
    record = process.open(key)
    assert record is not None
    read = greatest_in(record)
    return lambda: process.commit(Change(key, {"cart": b"\x09"}), read)


def together(cluster: Cluster, *keys: Key) -> None:
    """Assert that all members agree, and serve these sessions and no others."""
    agree(cluster)
    for process in members(cluster):
        served = [r.key for r in process.node.store.records() if r.is_served]
        assert sorted(key for key in served if not key.is_internal) == sorted(keys), process.name


class TestEndOfAll:
    def test_ends_those_on_all_members_and_nobody_elses(self) -> None:
        cluster = cluster_of()
        a, b, c = members(cluster)
        keys = [log_in(process, number) for number, process in enumerate((a, b, c), start=1)]
        bobs, nobodys = log_in(b, 4, "bob"), create(c, 5)
        cluster.run(1.0)
        assert live(a) == live(b) == live(c) == keys
        end_all(b)
        cluster.run(0.5)
        together(cluster, bobs, nobodys)
        assert live(a) == []

    def test_a_session_begun_on_the_other_side_of_a_cut_ends_when_they_meet(self) -> None:
        cluster = cluster_of()
        a, _, c = members(cluster)
        cut = cluster.pairs(["c"], ["a", "b"])
        cluster.network.cut(cut)
        cluster.run(6.0)
        end_all(a)
        key = log_in(c)
        other = create(c, 2)
        cluster.run(1.0)
        assert live(c) == [key]
        cluster.network.mend(cut)
        cluster.run(8.0)
        together(cluster, other)

    def test_the_same_when_the_member_that_ended_them_has_died_since(self) -> None:
        cluster = cluster_of()
        a, _, c = members(cluster)
        cut = cluster.pairs(["c"], ["a", "b"])
        cluster.network.cut(cut)
        cluster.run(6.0)
        end_all(a)
        cluster.run(0.5)
        log_in(c)
        cluster.crash("a")
        cluster.start("a")
        cluster.run(2.0)
        cluster.network.mend(cut)
        cluster.run(8.0)
        together(cluster)

    def test_a_login_after_it_lives(self) -> None:
        cluster = cluster_of()
        a, b, _ = members(cluster)
        log_in(a)
        cluster.run(0.5)
        end_all(a)
        cluster.run(0.5)
        key = log_in(b, 2)
        cluster.run(7.0)
        together(cluster, key)

    @pytest.mark.parametrize("skews_s", [(HOUR_S, 0.0), (0.0, HOUR_S)])
    def test_clocks_an_hour_apart_change_nothing(self, skews_s: tuple[float, float]) -> None:
        cluster = Cluster(1, ("a", "b"), NodeConfig(), skews_s=skews_s)
        for name in cluster.names:
            cluster.start(name)
        cluster.run(3.0)
        a, b = members(cluster)
        before = log_in(b)
        cluster.run(0.5)
        end_all(a)
        cluster.run(0.5)
        after = log_in(b, 2)
        cut = cluster.pairs(["a"], ["b"])
        cluster.network.cut(cut)
        cluster.run(6.0)
        end_all(a)
        meanwhile = log_in(b, 3)
        cluster.run(0.5)
        assert before != after != meanwhile
        cluster.network.mend(cut)
        cluster.run(8.0)
        together(cluster)
        again = log_in(b, 4)
        cluster.run(0.5)
        together(cluster, again)

    def test_two_ends_in_two_halves_both_count(self) -> None:
        # b's login has seen the end by b alone, and c's the one by c alone.
        cluster = cluster_of("bc")
        b, c = members(cluster)
        cut = cluster.pairs(["b"], ["c"])
        cluster.network.cut(cut)
        cluster.run(6.0)
        for number, process in enumerate((b, c), start=1):
            end_all(process)
            cluster.run(0.1)
            log_in(process, number)
        assert len(live(b)) == len(live(c)) == 1
        cluster.network.mend(cut)
        cluster.run(8.0)
        together(cluster)

    def test_a_slow_request_cannot_bring_one_back(self) -> None:
        cluster = cluster_of()
        a, b, _ = members(cluster)
        key = log_in(a)
        cluster.run(0.5)
        finish, finish_there = open_slowly(a, key), open_slowly(b, key)
        end_all(b)
        assert finish_there() is None
        assert finish() is not None, "a does not know yet"
        a.carry()
        cluster.run(1.0)
        together(cluster)
        assert values(a, key) is None

    def test_a_joiner_knows_of_it(self) -> None:
        cluster = cluster_of()
        a, _, c = members(cluster)
        cut = cluster.pairs(["c"], ["a", "b"])
        cluster.network.cut(cut)
        cluster.run(6.0)
        end_all(a)
        log_in(c)
        cluster.run(1.0)
        cluster.crash("b")
        cluster.start("b")
        cluster.run(2.0)
        cluster.crash("a")
        cluster.run(1.0)
        cluster.network.mend(cut)
        cluster.run(9.0)
        assert [live(process) for process in cluster.live()] == [[], []]

    def test_what_is_forgotten_of_others_does_not_bury_it(self) -> None:
        cluster = cluster_of("ab")
        a, b = members(cluster)
        cut = cluster.pairs(["a"], ["b"])
        cluster.network.cut(cut)
        cluster.run(6.0)
        end_all(a)
        log_in(b)
        # As if a had borne a session later that ended, and b had dropped its tombstone since.
        b.node.store.forget({a.node.writer: a.node.clock.last + 1})
        cluster.network.mend(cut)
        cluster.run(10.0)
        together(cluster)

    def test_a_session_that_sleeps_ends_as_well(self) -> None:
        cluster = cluster_of("ab", timing=Timing(repair_interval_s=1000.0))
        a, b = members(cluster)
        key = log_in(a)
        cluster.run(0.5)
        store = b.node.store
        store.put_to_sleep(key, b.now, 0.0)
        end_all(b)
        cluster.run(0.5)
        assert all(process.node.store.peek(key).destroyed for process in (a, b))  # type: ignore[union-attr]


class TestBound:
    def test_the_least_recently_used_session_ends_at_a_login_too_many(self) -> None:
        cluster = cluster_of()
        a, b, c = members(cluster)
        for process in (a, b, c):
            process.node.principals.sessions_max["/"] = 2
        first = log_in(a, 1)
        cluster.run(0.5)
        log_in(b, 2)
        cluster.run(0.5)
        # As far as the member of the login knows: accesses are told in batches.
        assert values(c, first) is not None
        third = log_in(c, 3)
        cluster.run(0.5)
        assert live(a) == live(b) == sorted((first, third))

    def test_logins_on_both_sides_of_a_cut_are_too_many_until_the_next(self) -> None:
        cluster = cluster_of("ab")
        a, b = members(cluster)
        for process in (a, b):
            process.node.principals.sessions_max["/"] = 1
        cut = cluster.pairs(["a"], ["b"])
        cluster.network.cut(cut)
        cluster.run(6.0)
        log_in(a, 1)
        log_in(b, 2)
        cluster.network.mend(cut)
        cluster.run(8.0)
        assert len(live(a)) == len(live(b)) == 2
        last = log_in(a, 3)
        cluster.run(0.5)
        assert live(a) == live(b) == [last]
