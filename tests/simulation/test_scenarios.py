"""Directed scenarios: members that start, leave, hang, and find each other again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from replsession.config import Limits
from replsession.events import (
    BecameReady,
    DonorLost,
    MemberJoined,
    MemberLeft,
    MemberUnreachable,
    OutboxOverflowed,
    StateReceived,
    StateSkipped,
)
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


class TestStarting:
    def test_two_that_start_together_do_not_wait_for_each_other(self) -> None:
        cluster = cluster_of("ab", started=False)
        cluster.start("a")
        cluster.start("b")
        cluster.run(cluster.config.timing.discovery_s + 0.3)
        for name in "ab":
            assert len(told(cluster, name, StateSkipped)) == 1
            assert len(told(cluster, name, BecameReady)) == 1
        agree(cluster)

    def test_one_that_finds_a_ready_member_does_not_wait_for_the_discovery_to_end(self) -> None:
        cluster = cluster_of("ab", started=False)
        cluster.start("a")
        cluster.run(3.0)
        key = create(cluster.processes["a"])
        began = cluster.now
        cluster.start("b")
        while not cluster.processes["b"].node.is_ready:
            cluster.run(0.01)
        assert cluster.now - began < cluster.config.timing.discovery_s
        assert values(cluster.processes["b"], key) == {"cart": b"\x01"}
        (received,) = told(cluster, "b", StateReceived)
        assert received.sessions == {"/": 1}
        assert received.donor.name == "a"

    def test_donor_that_dies_later_is_no_donor_lost(self) -> None:
        cluster = cluster_of("ab", started=False)
        cluster.start("a")
        cluster.run(3.0)
        cluster.start("b")
        cluster.run(3.0)
        assert len(told(cluster, "b", StateReceived)) == 1
        cluster.crash("a")
        cluster.run(3.0)
        assert not told(cluster, "b", DonorLost)

    def test_donor_dies_in_the_middle_of_the_transfer(self) -> None:
        limits = Limits(chunk_bytes=300, transfer_window_chunks=1)
        cluster = cluster_of(limits=limits, started=False, weather=Weather((0.02, 0.03)))
        cluster.start("a")
        cluster.start("b")
        cluster.run(3.0)
        keys = [create(cluster.processes["a"], number) for number in range(60)]
        cluster.run(1.0)
        joiner = cluster.start("c").node
        while not joiner.transfers.joiner.chunks:
            cluster.run(0.01)
        assert 0 < len(joiner.store) < len(keys)
        donor = joiner.membership.view.get(joiner.transfers.joiner.donor or b"")
        assert donor is not None
        cluster.crash(donor.name)
        since = cluster.now
        cluster.run(5.0)
        assert [event.donor.name for event in told(cluster, "c", DonorLost, since)] == [donor.name]
        (received,) = told(cluster, "c", StateReceived)
        assert received.donor.name != donor.name
        assert all(values(cluster.processes["c"], key) for key in keys)
        agree(cluster)

    def test_donor_refuses_the_second_joiner_for_a_while(self) -> None:
        limits = Limits(chunk_bytes=300, transfer_window_chunks=1, transfers_at_once_max=1)
        cluster = cluster_of(limits=limits, started=False, weather=Weather((0.02, 0.03)))
        cluster.start("a")
        cluster.run(3.0)
        keys = [create(cluster.processes["a"], number) for number in range(120)]
        cluster.start("b")
        cluster.start("c")
        cluster.run(15.0)
        lost = told(cluster, "b", DonorLost) + told(cluster, "c", DonorLost)
        assert "refused" in {event.reason for event in lost}
        for name in "bc":
            assert len(told(cluster, name, StateReceived)) == 1
            assert all(values(cluster.processes[name], key) for key in keys)
        agree(cluster)

    def test_joiner_writes_while_it_joins(self) -> None:
        limits = Limits(chunk_bytes=300, transfer_window_chunks=1)
        cluster = cluster_of(limits=limits, started=False, weather=Weather((0.02, 0.03)))
        cluster.start("a")
        cluster.start("b")
        cluster.run(3.0)
        first = create(cluster.processes["a"], 0)
        for number in range(1, 60):
            create(cluster.processes["a"], number)
        cluster.run(1.0)
        joiner = cluster.start("c")
        while len(joiner.node.store) < 10:
            cluster.run(0.01)
        own = create(joiner, 1000)
        assert write(joiner, first, user=b"\x02")
        assert write(cluster.processes["a"], first, theme=b"\x03")
        assert not joiner.node.is_ready
        cluster.run(10.0)
        for process in members(cluster):
            assert values(process, own) == {"cart": b"\x01"}
            assert values(process, first) == {"cart": b"\x01", "user": b"\x02", "theme": b"\x03"}
        agree(cluster)


class TestLeaving:
    def test_restart_on_the_same_port_is_a_new_incarnation(self) -> None:
        cluster = cluster_of()
        key = create(cluster.processes["a"])
        cluster.run(1.0)
        before = cluster.processes["c"].node.me.id
        cluster.crash("c")
        since = cluster.now
        after = cluster.start("c").node.me.id
        cluster.run(3.0)
        for name in "ab":
            assert [event.member.id for event in told(cluster, name, MemberLeft, since)] == [before]
            assert [event.member.id for event in told(cluster, name, MemberJoined, since)] == [
                after
            ]
        assert values(cluster.processes["c"], key) is not None
        agree(cluster)

    def test_killed_process_is_known_at_once(self) -> None:
        cluster = cluster_of()
        cluster.crash("c")
        since = cluster.now
        cluster.run(0.5)
        for name in "ab":
            (left,) = told(cluster, name, MemberLeft, since)
            assert left.reason == "connection refused"

    def test_goodbye_is_believed_and_nobody_dials_again(self) -> None:
        cluster = cluster_of()
        create(cluster.processes["c"])
        cluster.leave("c")
        since = cluster.now
        cluster.run(0.2)
        for name in "ab":
            (left,) = told(cluster, name, MemberLeft, since)
            assert left.reason == "said goodbye"
            assert len(cluster.processes[name].node.membership.candidates) == 1
        cluster.run(1.0)
        agree(cluster)
        assert values(cluster.processes["a"], key_of(1)) is not None

    def test_silence_makes_a_member_gone(self) -> None:
        cluster = cluster_of()
        cluster.network.cut(cluster.pairs(["c"], ["a", "b"]))
        since = cluster.now
        timing = cluster.config.timing
        gone_s = timing.drop_after_s + timing.suspect_s
        cluster.run(gone_s - 1.1)
        assert not told(cluster, "a", MemberLeft, since)
        cluster.run(1.6)
        for name in "abc":
            assert all(
                event.reason.startswith(f"silent for {gone_s:.0f}.")
                for event in told(cluster, name, MemberLeft, since)
            )
        assert len(told(cluster, "c", MemberLeft, since)) == 2
        cluster.network.mend(cluster.pairs(["c"], ["a", "b"]))
        cluster.run(10.0)
        agree(cluster)

    def test_one_way_cut_is_noticed_by_both(self) -> None:
        cluster = cluster_of()
        cluster.network.cut(cluster.one_way(["a"], ["b"]))
        since = cluster.now
        key = create(cluster.processes["a"])
        cluster.run(6.0)
        for name, other in (("a", "b"), ("b", "a")):
            (unreachable,) = told(cluster, name, MemberUnreachable, since)
            assert (unreachable.member.name, unreachable.via.name) == (other, "c")
        assert not any(told(cluster, name, MemberLeft, since) for name in "abc")
        assert values(cluster.processes["b"], key) is not None, "c hands on what a cannot"
        cluster.network.mend(cluster.one_way(["a"], ["b"]))
        cluster.run(10.0)
        agree(cluster)

    @pytest.mark.parametrize("hangs_s", [1.0, 2.5, 5.0, 20.0])
    def test_process_that_hung_goes_on(self, hangs_s: float) -> None:
        cluster = cluster_of()
        key = create(cluster.processes["a"])
        cluster.run(1.0)
        since = cluster.now
        cluster.pause("c")
        assert write(cluster.processes["a"], key, cart=b"\x02")
        cluster.run(hangs_s)
        cluster.resume("c")
        cluster.run(10.0)
        is_short = hangs_s < cluster.config.timing.drop_after_s
        assert len(told(cluster, "a", MemberLeft, since)) == (0 if is_short else 1)
        for process in members(cluster):
            assert values(process, key) == {"cart": b"\x02"}
        agree(cluster)

    def test_every_member_but_one_restarts_again_and_again(self) -> None:
        cluster = cluster_of()
        key = create(cluster.processes["a"])
        cluster.run(1.0)
        for _ in range(6):
            for name in "bc":
                cluster.crash(name)
                cluster.start(name)
            cluster.run(1.5)
        cluster.crash("a")
        cluster.run(1.0)
        assert values(cluster.processes["b"], key) == {"cart": b"\x01"}

    def test_crash_loop_on_other_ports_does_not_keep_new_members_out(self) -> None:
        cluster = cluster_of("abc", limits=Limits(members_max=4), started=False)
        cluster.start("a")
        cluster.start("b")
        cluster.run(2.0)
        for port in range(4001, 4010):
            cluster.start("c", port)
            cluster.run(4.0)
            cluster.crash("c")
        cluster.network.weather = replace(cluster.network.weather, datagram_loss=0.3)
        cluster.start("c", 4020)
        cluster.run(8.0)
        agree(cluster)


class TestLinks:
    def test_both_dial_and_one_link_stays(self) -> None:
        names = "abcde"
        cluster = cluster_of(names)
        cluster.run(2.0)
        for process in members(cluster):
            assert len(process.node.membership.links) == len(names) - 1
            assert len(told(cluster, process.name, MemberJoined)) == len(names) - 1
            assert not told(cluster, process.name, MemberLeft)
        links = sorted(cluster.network.ends)
        cluster.run(30.0)
        assert sorted(cluster.network.ends) == links

    def test_overflow_is_levelled_out_by_repair(self) -> None:
        limits = Limits(window_bytes=1, outbox_deltas_max=5, chunk_bytes=100)
        cluster = cluster_of(limits=limits)
        process = cluster.processes["a"]

        def burst(node: object, now: float) -> None:
            for number in range(50):
                create(process, number)

        process.post(burst)
        cluster.run(0.01)
        assert told(cluster, "a", OutboxOverflowed)
        assert process.node.metrics.outboxes_overflowed > 0
        cluster.run(10.0)
        agree(cluster)
        assert len(cluster.processes["c"].node.store) == 50
