"""Directed scenarios: requests that wait, for fresh state or for acknowledgements."""

from __future__ import annotations

import pytest

from replsession.concern import Asked, Concern
from replsession.config import Limits, Timing
from replsession.identity import Key
from replsession.replication.acks import Ticket
from replsession.session.change import Change
from replsession.session.stamp import NOTHING_SEEN, Seen
from tests.simulation.cluster import Cluster
from tests.simulation.planted import planted
from tests.simulation.process import Answer, Process
from tests.simulation.stories import (
    agree,
    cluster_of,
    create,
    create_idle,
    invalidate,
    key_of,
    members,
)
from tests.simulation.swarm import Weather

pytestmark = pytest.mark.simulation

ONE_S = 1.0


def written(
    process: Process, key: Key, concern: Concern, expected: int | None = None, **values: bytes
) -> list[tuple[float, Ticket]]:
    """Write with a concern; what comes back gets the time and the ticket when it is done."""
    done: list[tuple[float, Ticket]] = []
    cluster = process.cluster

    def request(node: object, now: float) -> None:
        assert process.commit(Change(key, dict(values) or {"cart": b"\x02"})) is not None
        asked = Asked(concern, ONE_S, expected)
        process.wait_for(asked, key, lambda ticket: done.append((cluster.now, ticket)))

    process.post(request)
    return done


def asked(process: Process, key: Key, seen: Seen = NOTHING_SEEN) -> list[Answer]:
    """Ask for a session; what comes back gets the answer when there is one."""
    answers: list[Answer] = []
    process.post(lambda node, now: process.ask(key, seen, answers.append))
    return answers


def token(process: Process, key: Key) -> Seen:
    """Return what a client has seen who was just answered by this member."""
    record = process.node.store.peek(key)
    assert record is not None
    return Seen(record.seen(), 0)


def halves(cluster: Cluster, some: str, others: str) -> list[tuple[str, str]]:
    """Cut the cluster in two."""
    pairs = cluster.pairs(list(some), list(others))
    cluster.network.cut(pairs)
    return pairs


class TestConcern:
    @pytest.mark.parametrize(("concern", "holders"), [("one", 1), ("majority", 1), ("all", 2)])
    def test_is_met_by_those_who_applied_it(self, concern: Concern, holders: int) -> None:
        cluster = cluster_of()
        a, _, _ = members(cluster)
        key = create(a)
        cluster.run(ONE_S)
        done = written(a, key, concern)
        assert not done, "nobody can have acknowledged at once"
        cluster.run(0.2)
        ((_, ticket),) = done
        assert ticket.is_met
        assert len(ticket.acknowledged) >= holders

    @pytest.mark.parametrize(("concern", "holds"), [("majority", True), ("all", True)])
    def test_is_asked_of_those_who_are_up(self, concern: Concern, holds: bool) -> None:
        cluster = cluster_of()
        a, _, _ = members(cluster)
        key = create(a)
        cluster.crash("c")
        cluster.run(2.0)
        done = written(a, key, concern)
        cluster.run(0.2)
        assert [ticket.is_met for _, ticket in done] == [holds]

    def test_only_one_half_has_a_majority(self) -> None:
        cluster = cluster_of("abcde")
        a, _, _, d, _ = members(cluster)
        key = create(a)
        cluster.run(ONE_S)
        halves(cluster, "abc", "de")
        cluster.run(10.0)
        large, small = written(a, key, "majority"), written(d, key, "majority")
        began_at = cluster.now
        cluster.run(0.2)
        assert [ticket.is_met for _, ticket in large] == [True]
        # Too few are there: that is known at once, and the write stays all the same.
        ((at, ticket),) = small
        assert not ticket.is_met and at == pytest.approx(began_at)
        record = d.open(key)
        assert record is not None and record.value("cart") == b"\x02"

    def test_restarts_of_one_name_do_not_change_the_majority(self) -> None:
        cluster = cluster_of()
        a, _, _ = members(cluster)
        key = create(a)
        for _ in range(3):
            cluster.crash("c")
            cluster.run(ONE_S)
            cluster.start("c")
            cluster.run(2.0)
        cluster.crash("c")
        cluster.run(2.0)
        done = written(a, key, "majority")
        cluster.run(0.2)
        assert [(ticket.needed, ticket.is_met) for _, ticket in done] == [(1, True)]

    def test_goodbye_makes_the_cluster_smaller_and_a_crash_does_not(self) -> None:
        cluster = cluster_of("abcd")
        a, _, _, _ = members(cluster)
        key = create(a)
        cluster.run(ONE_S)
        cluster.leave("d")
        cluster.crash("c")
        cluster.run(2.0)
        done = written(a, key, "majority")
        cluster.run(0.2)
        assert [(ticket.needed, ticket.is_met) for _, ticket in done] == [(1, True)]
        cluster.crash("b")
        cluster.run(2.0)
        alone = written(a, key, "majority")
        cluster.run(0.2)
        assert [ticket.is_met for _, ticket in alone] == [False]

    def test_expected_members_are_missed_from_the_start(self) -> None:
        cluster = cluster_of("ab")
        a, _ = members(cluster)
        key = create(a)
        cluster.run(ONE_S)
        few, enough = written(a, key, "majority", 5), written(a, key, "majority", 3)
        cluster.run(0.2)
        assert [ticket.is_met for _, ticket in few] == [False]
        assert [ticket.is_met for _, ticket in enough] == [True]

    def test_what_got_lost_with_a_link_is_sent_again(self) -> None:
        cluster = cluster_of("ab")
        a, b = members(cluster)
        key = create(a)
        cluster.run(ONE_S)
        done = written(a, key, "all")
        for end in cluster.network.ends_of(a):
            cluster.network.reset(end, "connection reset")
        cluster.run(0.9)
        assert [ticket.is_met for _, ticket in done] == [True]
        record = b.open(key)
        assert record is not None and record.value("cart") == b"\x02"

    def test_what_an_overflow_threw_away_is_sent_again(self) -> None:
        limits = Limits(window_bytes=1, outbox_deltas_max=3)
        cluster = cluster_of("ab", limits=limits)
        a, _ = members(cluster)
        keys = [create(a, number) for number in range(8)]
        cluster.run(3.0)
        done: list[Ticket] = []

        def burst(node: object, now: float) -> None:
            for key in keys:
                a.commit(Change(key, {"cart": b"\x05"}))
            a.wait_for(Asked("all", ONE_S), keys[0], done.append)
            for key in keys[1:]:
                a.commit(Change(key, {"cart": b"\x06"}))

        a.post(burst)
        assert a.node.metrics.outboxes_overflowed
        cluster.run(0.9)
        assert [ticket.is_met for ticket in done] == [True]

    def test_hung_member_makes_it_fail_in_time_and_names_itself(self) -> None:
        cluster = cluster_of()
        a, _, _ = members(cluster)
        key = create(a)
        cluster.run(ONE_S)
        cluster.pause("c")
        began_at = cluster.now
        done = written(a, key, "all")
        cluster.run(1.1)
        ((at, ticket),) = done
        assert not ticket.is_met
        assert ticket.missing == ("c",)
        assert at == pytest.approx(began_at + ONE_S, abs=0.05)


class TestFreshness:
    def test_writer_that_was_never_met_may_be_on_its_way(self) -> None:
        # It has just started: what it writes reaches others before it has reached everybody.
        cluster = cluster_of("abc", started=False)
        cluster.start("a")
        cluster.start("b")
        cluster.run(3.0)
        key = create(cluster.processes["a"])
        cluster.network.cut(cluster.pairs(["b"], ["c"]))
        cluster.start("c")
        cluster.run(3.0)
        _, b, c = members(cluster)
        way = cluster.one_way(["c"], ["a"])
        cluster.network.cut(way)
        written(c, key, "async", cart=b"\x09")
        answers = asked(b, key, token(c, key))
        cluster.run(0.06)
        cluster.network.mend(way)
        cluster.run(0.4)
        (answer,) = answers
        assert not answer.stale
        assert answer.record is not None
        assert answer.record.value("cart") == b"\x09"
        assert answer.waited_s <= 0.25

    def test_delta_under_way_is_waited_for(self) -> None:
        cluster = cluster_of("ab")
        a, b = members(cluster)
        key = create(a)
        cluster.run(ONE_S)
        written(a, key, "async")
        answers = asked(b, key, token(a, key))
        assert not answers
        cluster.run(0.1)
        ((answer),) = answers
        assert answer.record is not None and answer.record.value("cart") == b"\x02"
        assert not answer.stale
        # Half the deltas come before anybody asks; the others are asked for.
        assert answer.waited_s < 0.06

    def test_third_member_gives_what_the_writer_cannot(self) -> None:
        cluster = cluster_of()
        a, b, _ = members(cluster)
        key = create(a)
        cluster.run(ONE_S)
        cluster.network.cut(cluster.pairs(["a"], ["b"]))
        written(a, key, "async")
        cluster.run(0.03)
        answers = asked(b, key, token(a, key))
        cluster.run(0.2)
        ((answer),) = answers
        assert answer.record is not None and answer.record.value("cart") == b"\x02"
        assert not answer.stale

    def test_dead_writer_costs_a_round_trip_not_the_time_out(self) -> None:
        cluster = cluster_of()
        a, b, c = members(cluster)
        key = create(a)
        cluster.run(ONE_S)
        for other in (b, c):
            cluster.network.cut(cluster.one_way(["a"], [other.name]))
        written(a, key, "async")
        seen = token(a, key)
        cluster.crash("a")
        cluster.run(6.0)
        answers = asked(b, key, seen)
        cluster.run(0.2)
        ((answer),) = answers
        assert answer.stale, "nobody has it any more, and that is said"
        assert answer.record is not None and answer.record.value("cart") == b"\x01"
        assert answer.waited_s < 0.06

    def test_all_cut_off_it_waits_as_long_as_was_said(self) -> None:
        cluster = cluster_of("ab")
        a, b = members(cluster)
        key = create(a)
        cluster.run(ONE_S)
        cluster.network.cut(cluster.pairs(["a"], ["b"]))
        written(a, key, "async")
        answers = asked(b, key, token(a, key))
        cluster.run(0.2)
        assert not answers
        cluster.run(0.1)
        ((answer),) = answers
        assert answer.stale

    def test_session_born_a_moment_ago_elsewhere_is_found(self) -> None:
        cluster = cluster_of()
        a, b, _ = members(cluster)
        key = create(a)
        answers = asked(b, key, token(a, key))
        cluster.run(0.1)
        assert [answer.record is not None for answer in answers] == [True]

    def test_answer_from_before_it_came_there_does_not_make_it_unknown(self) -> None:
        cluster = cluster_of("ab")
        a, b = members(cluster)
        cluster.network.slowed[cluster.host("b")] = 0.15
        before = asked(a, key_of(1))
        cluster.run(0.05)
        key = create(b, 1)
        after = asked(a, key, token(b, key))
        cluster.run(0.35)
        assert [(answer.record, answer.is_certain) for answer in before] == [(None, True)]
        assert [answer.record is not None for answer in after] == [True]

    def test_what_nobody_knows_is_asked_for_once(self) -> None:
        cluster = cluster_of()
        a, _, _ = members(cluster)
        key = create(a)
        invalidate(a, key)
        cluster.run(ONE_S)
        unknown = Key("/", b"\x09" * 12)
        first = asked(a, unknown)
        cluster.run(0.1)
        assert [(answer.record, answer.is_certain) for answer in first] == [(None, True)]
        sent = a.node.metrics.inquiries_sent
        again = asked(a, unknown)
        assert [answer.record for answer in again] == [None]
        assert a.node.metrics.inquiries_sent == sent == 2

    def test_joiner_calls_no_session_unknown(self) -> None:
        cluster = cluster_of("abc", started=False, limits=Limits(chunk_bytes=100))
        cluster.start("a")
        cluster.start("b")
        cluster.run(3.0)
        keys = [create(cluster.processes["a"], number) for number in range(200)]
        cluster.run(ONE_S)
        joiner = cluster.start("c")
        answers = asked(joiner, keys[-1])
        cluster.run(0.05)
        assert not joiner.node.is_ready
        cluster.run(4.0)
        assert [answer.record is not None for answer in answers] == [True]

    def test_session_that_is_over_here_lives_if_it_was_used_elsewhere(self) -> None:
        timing = Timing(access_interval_s=300.0)
        cluster = cluster_of("ab", timing=timing)
        a, b = members(cluster)
        key = create_idle(a, 600.0)
        cluster.run(590.0)
        # The links are new, so nothing of this access has been announced yet.
        cluster.network.cut(cluster.pairs(["a"], ["b"]))
        assert a.open(key) is not None
        cluster.run(8.0)
        cluster.network.mend(cluster.pairs(["a"], ["b"]))
        cluster.run(9.0)
        answers = asked(b, key)
        cluster.run(0.1)
        assert [answer.record is not None for answer in answers] == [True]

    def test_what_was_shown_after_a_gap_is_in_the_token(self) -> None:
        def story() -> bool:
            cluster = cluster_of()
            a, b, c = members(cluster)
            key = create(a)
            cluster.run(ONE_S)
            # Of two writes of a, only the second comes to b, and none to c.
            cluster.network.cut(cluster.one_way(["a"], ["c"]))
            cluster.network.weather = Weather(frame_loss=0.999999)
            written(a, key, "async", x=b"\x02")
            cluster.network.weather = Weather()
            written(a, key, "async", y=b"\x03")
            while b.node.store.peek(key).value("y") is None:  # type: ignore[union-attr]
                cluster.run(0.001)
            seen = token(b, key)
            answers = asked(c, key, seen)
            cluster.run(0.4)
            ((answer),) = answers
            assert answer.record is not None
            return answer.stale or answer.record.value("y") is not None

        assert story()
        with planted("token_of_the_version_alone"):
            assert not story()

    def test_all_agree_after_that(self) -> None:
        cluster = cluster_of()
        a, _, _ = members(cluster)
        key = create(a)
        written(a, key, "all")
        cluster.run(2.0)
        agree(cluster)
