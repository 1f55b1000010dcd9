"""Directed scenarios: who is up, who is gone, and who can only be seen through others."""

from __future__ import annotations

import pytest

from replsession.config import Timing
from replsession.events import MemberJoined, MemberLeft, MemberReachable, MemberUnreachable
from replsession.session.record import Record
from tests.simulation.cluster import Cluster
from tests.simulation.process import Process
from tests.simulation.stories import (
    agree,
    cluster_of,
    create,
    create_idle,
    directly,
    invalidate,
    key_of,
    told,
    until_directly,
    values,
    write,
)
from tests.simulation.swarm import Weather

pytestmark = pytest.mark.simulation

GONE_S = 4.5
"""Silence of drop_after_s, suspicion of suspect_s, and half a second for the messages."""
LONG_S = 30.0


def cut(cluster: Cluster, one: str, other: str) -> None:
    """Let nothing pass between two members."""
    cluster.network.cut(cluster.pairs([one], [other]))


def mend(cluster: Cluster, one: str, other: str) -> None:
    """Undo a cut."""
    cluster.network.mend(cluster.pairs([one], [other]))


def names_left(cluster: Cluster, name: str, since: float = 0.0) -> list[str]:
    """Return whom a member has called gone."""
    return [event.member.name for event in told(cluster, name, MemberLeft, since)]


def seen_by(process: Process) -> dict[str, str | None]:
    """Return who is in a member's view, and through whom it is seen."""
    view = process.node.membership.view
    through = {member.id: view.get(view.via(member.id) or b"") for member in view}
    return {
        member.name: None if (via := through[member.id]) is None else via.name for member in view
    }


class TestSuspicion:
    @pytest.mark.parametrize("names", ["ab", "abc", "abcde"])
    def test_hung_process_is_gone_within_four_and_a_half_seconds(self, names: str) -> None:
        cluster = cluster_of(names)
        since, hung = cluster.now, names[-1]
        cluster.pause(hung)
        cluster.run(cluster.config.timing.drop_after_s - 1.0)
        assert not any(names_left(cluster, name, since) for name in names)
        cluster.run(GONE_S - cluster.now + since)
        for name in names[:-1]:
            (left,) = told(cluster, name, MemberLeft, since)
            assert left.member.name == hung
            assert left.reason.startswith("silent for ")
            assert not told(cluster, name, MemberUnreachable), "all heard it before it hung"

    @pytest.mark.parametrize("hung_s", [3.2, 5.0, 20.0])
    def test_process_that_hung_itself_calls_nobody_gone(self, hung_s: float) -> None:
        cluster = cluster_of("abc")
        since = cluster.now
        cluster.pause("c")
        cluster.run(hung_s)
        cluster.resume("c")
        cluster.run(LONG_S)
        assert names_left(cluster, "c", since) == []
        assert directly(cluster)

    def test_process_that_hung_while_it_suspected_begins_anew(self) -> None:
        cluster = cluster_of("ab")
        since = cluster.now
        cut(cluster, "a", "b")
        cluster.run(3.5)
        assert len(cluster.processes["a"].node.membership.suspicions.suspects) == 1
        cluster.pause("a")
        mend(cluster, "a", "b")
        cluster.run(10.0)
        cluster.resume("a")
        cluster.run(LONG_S)
        assert names_left(cluster, "a", since) == []
        assert directly(cluster)

    def test_dead_host_is_gone_and_no_testimony_of_its_last_words_counts(self) -> None:
        cluster = cluster_of("abcd")
        since = cluster.now
        cluster.network.cut(cluster.pairs(["d"], ["a", "b", "c"]))
        cluster.run(GONE_S)
        for name in "abc":
            assert names_left(cluster, name, since) == ["d"]
            assert not told(cluster, name, MemberUnreachable)

    @pytest.mark.parametrize("cut_s", [1.0, 2.5, 3.2])
    def test_short_silence_is_forgiven(self, cut_s: float) -> None:
        cluster = cluster_of("ab")
        since = cluster.now
        links = sorted(cluster.network.ends)
        cut(cluster, "a", "b")
        cluster.run(cut_s)
        mend(cluster, "a", "b")
        cluster.run(LONG_S)
        assert names_left(cluster, "a", since) == names_left(cluster, "b", since) == []
        assert sorted(cluster.network.ends) == links

    def test_link_that_one_end_lost_is_replaced_at_once(self) -> None:
        cluster = cluster_of("abc")
        since = cluster.now
        for number, (name, other) in enumerate((("a", "b"), ("b", "a"))):
            cluster.run(5.0)
            (end,) = [
                end
                for end in cluster.network.ends_of(cluster.processes[name])
                if end.other.host.name == other
            ]
            cluster.network.half_open(end, "connection timed out")
            cluster.run(0.2)
            key = create(cluster.processes[name], number)
            cluster.run(0.2)
            assert values(cluster.processes[other], key) is not None
            assert cluster.processes["c"].node.metrics.deltas_relayed == 0
        cluster.run(LONG_S)
        assert not any(names_left(cluster, name, since) for name in "abc")

    def test_flapping_line_makes_nobody_gone(self) -> None:
        cluster = cluster_of("abc")
        since = cluster.now
        for _ in range(30):
            cut(cluster, "a", "b")
            cluster.run(0.4)
            mend(cluster, "a", "b")
            cluster.run(0.1)
        assert not any(names_left(cluster, name, since) for name in "abc")
        cluster.run(10.0)
        agree(cluster)

    def test_member_that_is_slow_to_speak_is_not_gone(self) -> None:
        cluster = cluster_of("abc")
        since = cluster.now
        cluster.network.slowed[cluster.host("c")] = 2.5
        cluster.run(LONG_S)
        assert not any(names_left(cluster, name, since) for name in "abc")


class TestPartialCut:
    def test_pair_that_cannot_meet_stays_in_view_and_shares_every_write(self) -> None:
        cluster = cluster_of("abc")
        first = create(cluster.processes["a"])
        cluster.run(1.0)
        since = cluster.now
        cut(cluster, "a", "b")
        cluster.run(GONE_S + 1.0)
        for number in range(20):
            writer, reader = ("a", "b") if number % 2 else ("b", "a")
            assert write(cluster.processes[writer], first, cart=bytes([number]))
            second = create(cluster.processes[writer], 10 + number)
            cluster.run(1.0)
            assert values(cluster.processes[reader], first) == {"cart": bytes([number])}
            assert values(cluster.processes[reader], second) is not None
        invalidate(cluster.processes["a"], first)
        cluster.run(1.0)
        assert values(cluster.processes["b"], first) is None
        assert not any(names_left(cluster, name, since) for name in "abc")
        assert seen_by(cluster.processes["a"]) == {"b": "c", "c": None}
        assert seen_by(cluster.processes["b"]) == {"a": "c", "c": None}
        assert cluster.processes["c"].node.metrics.deltas_relayed >= 40
        for name in "ab":
            assert len(told(cluster, name, MemberUnreachable, since)) == 1
        assert not told(cluster, "c", MemberUnreachable)

    def test_pair_that_meets_again_sees_each_other_directly(self) -> None:
        cluster = cluster_of("abc")
        since = cluster.now
        cut(cluster, "a", "b")
        cluster.run(LONG_S)
        mend(cluster, "a", "b")
        took_s = until_directly(cluster, 8.0)
        assert took_s > 0.0
        for name in "ab":
            assert len(told(cluster, name, MemberReachable, since)) == 1
            assert not told(cluster, name, MemberJoined, since)
        cluster.run(1.0)
        relayed = cluster.processes["c"].node.metrics.deltas_relayed
        create(cluster.processes["a"])
        cluster.run(10.0)
        assert cluster.processes["c"].node.metrics.deltas_relayed == relayed
        agree(cluster)

    def test_what_was_written_while_nobody_had_noticed_arrives_at_once_after(self) -> None:
        cluster = cluster_of("abc")
        cut(cluster, "a", "b")
        cluster.run(2.0)
        key = create(cluster.processes["a"])
        cluster.run(GONE_S)
        assert seen_by(cluster.processes["b"]) == {"a": "c", "c": None}
        assert values(cluster.processes["b"], key) is not None

    def test_access_far_away_keeps_a_session_awake(self) -> None:
        timing = Timing(access_interval_s=1.0)
        cluster = cluster_of("abc", timing=timing)
        key = create_idle(cluster.processes["a"], 12)
        cut(cluster, "a", "b")
        process = cluster.processes["a"]
        accesses: list[Record | None] = []
        for _ in range(20):
            cluster.run(2.0)
            process.post(lambda node, now: accesses.append(process.open(key)))
        assert all(accesses)
        # Only a has been asked for it; what b knows of that, it knows through c.
        record = cluster.processes["b"].node.store.peek(key)
        assert record is not None
        assert not record.asleep
        assert cluster.processes["b"].now - record.accessed < 5.0

    @pytest.mark.parametrize("names", ["abcd", "abcde"])
    def test_of_several_that_could_hand_on_one_does(self, names: str) -> None:
        cluster = cluster_of(names)
        cut(cluster, "a", "b")
        cluster.run(GONE_S + 1.0)
        before = [cluster.processes[name].node.metrics.deltas_relayed for name in names]
        for number in range(20):
            create(cluster.processes["a"], number)
        cluster.run(0.5)
        assert values(cluster.processes["b"], key_of(19)) is not None
        after = [cluster.processes[name].node.metrics.deltas_relayed for name in names]
        handed_on = [late - early for early, late in zip(before, after, strict=True)]
        assert sorted(handed_on) == [0] * (len(names) - 1) + [20]

    def test_who_is_seen_through_another_one_leaves_with_it(self) -> None:
        cluster = cluster_of("abc")
        cut(cluster, "a", "b")
        cluster.run(GONE_S + 1.0)
        since = cluster.now
        cluster.crash("c")
        cluster.run(0.5)
        for name, other in (("a", "b"), ("b", "a")):
            assert sorted(names_left(cluster, name, since)) == sorted([other, "c"])
        mend(cluster, "a", "b")
        until_directly(cluster, 8.0)

    def test_who_dies_behind_another_one_is_gone(self) -> None:
        cluster = cluster_of("abc")
        cut(cluster, "a", "b")
        cluster.run(GONE_S + 1.0)
        since = cluster.now
        cluster.crash("b")
        cluster.run(1.0)
        assert names_left(cluster, "a", since) == names_left(cluster, "c", since) == ["b"]

    def test_line_that_flaps_between_two_is_told_once(self) -> None:
        cluster = cluster_of("abc")
        since = cluster.now
        cut(cluster, "a", "b")
        cluster.run(GONE_S + 1.0)
        for _ in range(20):
            # The third one's own links come and go, and come back at once.
            for end in cluster.network.ends_of(cluster.processes["c"]):
                cluster.network.reset(end, "connection reset")
            cluster.run(0.7)
        assert len(told(cluster, "a", MemberUnreachable, since)) == 1
        assert names_left(cluster, "a", since) == []

    def test_longer_chain_is_left_to_repair(self) -> None:
        cluster = cluster_of("abcd")
        # a – c – d – b: nobody has a link with both a and b.
        for one, other in (("a", "b"), ("a", "d"), ("b", "c")):
            cut(cluster, one, other)
        cluster.run(LONG_S)
        key = create(cluster.processes["a"])
        cluster.run(15.0)
        assert values(cluster.processes["b"], key) is not None
        for one, other in (("a", "b"), ("a", "d"), ("b", "c")):
            mend(cluster, one, other)
        until_directly(cluster, 20.0)


class TestHints:
    """Two halves always merge again, whatever the source of hints is."""

    @pytest.mark.parametrize(
        ("is_multicast", "seeds"),
        [
            (True, {}),
            (False, dict.fromkeys("abcd", ("a", "b", "c", "d"))),
            (False, {"b": ("a",), "c": ("a",), "d": ("a",)}),
            (False, {"a": ("b",), "c": ("b",), "d": ("c",)}),
        ],
        ids=["multicast", "seeds", "one seed", "a chain of seeds"],
    )
    @pytest.mark.parametrize("apart_s", [2.0, 10.0, 60.0])
    def test_two_halves_merge(
        self, is_multicast: bool, seeds: dict[str, tuple[str, ...]], apart_s: float
    ) -> None:
        cluster = cluster_of("abcd", is_multicast=is_multicast, seeds=seeds, started=False)
        for name in "abcd":
            cluster.start(name)
        # The first one looks its seed up before that has started, and again five seconds later.
        until_directly(cluster, 8.0)
        cluster.network.cut(cluster.pairs(["a", "b"], ["c", "d"]))
        cluster.run(apart_s)
        keys = [create(cluster.processes["a"], 1), create(cluster.processes["d"], 2)]
        cluster.network.mend(cluster.pairs(["a", "b"], ["c", "d"]))
        until_directly(cluster, 10.0)
        cluster.run(10.0)
        for process in cluster.live():
            assert all(values(process, key) is not None for key in keys)

    def test_halves_that_never_met_merge_over_one_seed(self) -> None:
        seeds = {"b": ("a",), "d": ("c",), "e": ("a", "c")}
        cluster = cluster_of("abcde", is_multicast=False, seeds=seeds, started=False)
        for name in "abcd":
            cluster.start(name)
        cluster.run(5.0)
        assert [sorted(seen_by(cluster.processes[name])) for name in "abcd"] == [
            ["b"],
            ["a"],
            ["d"],
            ["c"],
        ]
        cluster.start("e")
        until_directly(cluster, 5.0)

    def test_member_alone_looks_for_its_seed_for_ever(self) -> None:
        cluster = cluster_of("ab", is_multicast=False, seeds={"b": ("a",)}, started=False)
        cluster.start("a")
        cluster.crash("a")
        cluster.start("b")
        cluster.run(600.0)
        assert cluster.processes["b"].node.is_ready
        cluster.start("a")
        until_directly(cluster, 7.0)

    def test_seed_that_moves_is_found_by_its_name(self) -> None:
        cluster = cluster_of("ab", is_multicast=False, seeds={"b": ("a",)})
        cluster.crash("a")
        cluster.run(30.0)
        cluster.start("a", 4007)
        until_directly(cluster, 12.0)

    def test_seeds_that_are_linked_or_ourselves_are_left_alone(self) -> None:
        seeds: dict[str, tuple[str, ...]] = dict.fromkeys("abc", ("a", "b", "c"))
        cluster = cluster_of("abc", is_multicast=False, seeds=seeds)
        cluster.run(1.0)
        links = sorted(cluster.network.ends)
        cluster.run(120.0)
        assert sorted(cluster.network.ends) == links
        assert all(process.node.metrics.links_refused == 0 for process in cluster.live())


class TestGoodbye:
    def test_graceful_stop_is_known_within_a_tenth_of_a_second(self) -> None:
        cluster = cluster_of("abc")
        key = create(cluster.processes["c"])
        since = cluster.now
        cluster.leave("c")
        cluster.run(0.1)
        for name in "ab":
            (left,) = told(cluster, name, MemberLeft, since)
            assert (left.member.name, left.reason) == ("c", "said goodbye")
            assert values(cluster.processes[name], key) is not None

    def test_killed_process_is_known_within_a_quarter_of_a_second(self) -> None:
        cluster = cluster_of("abcde")
        since = cluster.now
        cluster.crash("c")
        cluster.run(0.25)
        for name in "abde":
            (left,) = told(cluster, name, MemberLeft, since)
            assert (left.member.name, left.reason) == ("c", "connection refused")

    def test_neighbour_who_has_not_heard_the_goodbye_brings_nobody_back(self) -> None:
        cluster = cluster_of("abc")
        cluster.run(2.0)
        cut(cluster, "b", "c")
        cluster.leave("c")
        since = cluster.now
        cluster.run(1.0)
        # b thinks it has a link with c still, and has a reason to tell so.
        for end in cluster.network.ends_of(cluster.processes["b"]):
            if end.other.host.name == "a":
                cluster.network.reset(end, "connection reset")
        cluster.run(1.0)
        a = cluster.processes["a"].node.membership
        left = next(iter(a.departed))
        assert a.neighbours.seen_by(left) is not None
        assert left not in a.candidates
        cluster.run(10.0)
        assert names_left(cluster, "a", since) == ["c"]
        assert seen_by(cluster.processes["b"]) == {"a": None}

    def test_restart_on_the_same_address_closes_the_old_link(self) -> None:
        cluster = cluster_of("abc", weather=Weather((0.001, 0.002)))
        since = cluster.now
        # Its host loses power: nobody is told.
        for end in cluster.network.ends_of(cluster.processes["c"]):
            cluster.network.half_open(end, "connection timed out")
        cluster.crash("c")
        cluster.start("c")
        cluster.run(1.0)
        assert names_left(cluster, "a", since) == ["c"]
        a = cluster.processes["a"].node.membership
        assert sorted(link.member or b"" for link in a.links.values()) == sorted(a.link_of)
        assert len(a.links) == len(a.view) == 2
        agree(cluster)


class TestNames:
    def test_names_are_counted_as_people_would(self) -> None:
        timing = Timing(forget_after_s=60.0)
        cluster = cluster_of("abcd", timing=timing)
        a = cluster.processes["a"]

        def known() -> str:
            return "".join(sorted(a.node.membership.view.known_names(a.now)))

        assert known() == "bcd"
        for _ in range(3):
            cluster.crash("b")
            cluster.run(1.0)
            assert known() == "bcd"
            cluster.start("b")
            cluster.run(2.0)
        cluster.leave("c")
        cluster.run(1.0)
        assert known() == "bd"
        cluster.crash("d")
        cluster.run(50.0)
        assert known() == "bd"
        cluster.run(15.0)
        assert known() == "b"
