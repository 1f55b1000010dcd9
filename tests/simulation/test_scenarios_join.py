"""Directed scenarios: members that start, and those that give them their state."""

from __future__ import annotations

from dataclasses import replace

import pytest

from replsession.config import Limits, NodeConfig
from replsession.events import BecameReady, DonorLost, StateReceived, StateRequested, StateSkipped
from replsession.identity import Key
from replsession.messages import StateChunk
from replsession.wire.encoding import KINDS
from replsession.wire.framing import HEAD
from tests.simulation.cluster import Cluster
from tests.simulation.process import Process
from tests.simulation.stories import (
    LONG_CUT_S,
    SHORT,
    agree,
    cluster_of,
    create,
    invalidate,
    members,
    told,
    values,
    write,
)
from tests.simulation.swarm import Weather
from tests.simulation.trace import Trace

pytestmark = pytest.mark.simulation

SESSIONS = 16
"""Each in a bucket of its own, and in a chunk of its own."""
TINY = Limits(chunk_bytes=1, transfer_window_chunks=1)
SLOW = Weather((0.02, 0.03))


def two_with_sessions(limits: Limits = TINY, joiners: str = "c") -> tuple[Cluster, list[Key]]:
    """Return two ready members with sessions, and others that have not started."""
    cluster = cluster_of("ab" + joiners, limits=limits, started=False, weather=SLOW)
    cluster.start("a")
    cluster.start("b")
    cluster.run(3.0)
    keys = [create(cluster.processes["a"], number) for number in range(SESSIONS)]
    cluster.run(1.0)
    return cluster, keys


class Counted(Trace):
    """A trace that counts the chunks of state that are sent."""

    chunks = 0

    def carried(self, now: float, data: bytes) -> None:
        """Note bytes that travel."""
        # Datagrams have no length before them.
        is_frame = int.from_bytes(data[:4], "big") == len(data) - 4
        self.chunks += is_frame and KINDS.get(data[HEAD.size - 1]) is StateChunk


def count_chunks(cluster: Cluster) -> Counted:
    """Count the chunks of state that are sent from now on."""
    cluster.network.trace = trace = Counted()
    return trace


def until_it_has(cluster: Cluster, joiner: Process, chunks: int) -> str:
    """Let time pass until a joiner has so many chunks; return the name of its donor."""
    state = joiner.node.transfers.joiner
    until = cluster.now + 5.0
    while state.donor is None or len(state.chunks) < chunks:
        assert cluster.now < until
        assert not state.done
        cluster.run(0.002)
    return told(cluster, joiner.name, StateRequested)[-1].donor.name


class TestTogether:
    @pytest.mark.parametrize("names", ["ab", "abc", "abcde"])
    @pytest.mark.parametrize("apart_s", [0.0, 0.1])
    def test_members_that_start_together_are_ready_at_once(
        self, names: str, apart_s: float
    ) -> None:
        cluster = cluster_of(names, started=False)
        discovery_s = cluster.config.timing.discovery_s
        for name in names:
            cluster.start(name)
            cluster.run(apart_s)
        cluster.run(discovery_s + 0.3)
        for name in names:
            (at,) = [
                at
                for at, who, event in cluster.events
                if who == name and isinstance(event, BecameReady)
            ]
            assert at - cluster.processes[name].started_at < discovery_s + 0.2
        agree(cluster)

    def test_all_crash_but_one_and_start_together(self) -> None:
        cluster, keys = two_with_sessions(joiners="cde")
        for name in "cde":
            cluster.start(name)
        cluster.run(5.0)
        for name in "abcd":
            cluster.crash(name)
        since = cluster.now
        for name in "abcd":
            cluster.start(name)
        cluster.run(5.0)
        for name in "abcd":
            assert not told(cluster, name, StateSkipped, since)
            assert all(values(cluster.processes[name], key) for key in keys)
        agree(cluster)

    def test_joiners_spread_over_donors_and_a_busy_one_sends_them_to_the_next(self) -> None:
        limits = replace(TINY, transfers_at_once_max=1)
        cluster, keys = two_with_sessions(limits, joiners="cd")
        for name in "cd":
            cluster.start(name)
        cluster.run(3.0)
        assert all(cluster.processes[name].node.is_ready for name in "cd")
        received = [told(cluster, name, StateReceived)[0] for name in "cd"]
        assert sorted(event.donor.name for event in received) == ["a", "b"]
        for name in "cd":
            assert all(values(cluster.processes[name], key) for key in keys)
            # Where both ends had dialled, one of the two links goes at once.
            reasons = {event.reason for event in told(cluster, name, DonorLost)}
            assert reasons <= {"refused", "its link is gone"}


class TestDonorDies:
    @pytest.mark.parametrize("chunks", range(SESSIONS + 1))
    def test_at_every_chunk_and_the_next_one_sends_the_rest(self, chunks: int) -> None:
        cluster, keys = two_with_sessions()
        joiner = cluster.start("c")
        donor = until_it_has(cluster, joiner, chunks)
        cluster.crash(donor)
        cluster.run(3.0)
        state = joiner.node.transfers.joiner
        assert joiner.node.is_ready
        (received,) = told(cluster, "c", StateReceived)
        if chunks < SESSIONS:
            assert received.donor.name != donor
            assert donor in [event.donor.name for event in told(cluster, "c", DonorLost)]
            assert len(state.chunks) <= SESSIONS - chunks
        assert received.sessions == {"/": SESSIONS}
        assert all(values(joiner, key) for key in keys)
        agree(cluster)

    @pytest.mark.parametrize("chunks", range(1, 13))
    def test_between_the_pieces_of_a_long_record(self, chunks: int) -> None:
        limits = replace(TINY, piece_bytes=50)
        cluster = cluster_of("abc", limits=limits, started=False, weather=SLOW)
        cluster.start("a")
        cluster.start("b")
        cluster.run(3.0)
        long = {name: name.encode() * 40 for name in "uvw"}
        keys = [create(cluster.processes["a"], number, **long) for number in range(3)]
        cluster.run(1.0)
        joiner = cluster.start("c")
        cluster.crash(until_it_has(cluster, joiner, chunks))
        while not joiner.node.is_ready:
            cluster.run(0.01)
        assert [values(joiner, key) for key in keys] == [long] * 3
        assert told(cluster, "c", StateReceived)[0].sessions == {"/": 3}

    def test_one_after_the_other_and_nothing_is_sent_twice(self) -> None:
        cluster, keys = two_with_sessions(joiners="cdefg")
        for name in "cdef":
            cluster.start(name)
        cluster.run(4.0)
        agree(cluster)
        sent = count_chunks(cluster)
        joiner = cluster.start("g")
        for chunks in (2, 3, 4, 2):
            cluster.crash(until_it_has(cluster, joiner, chunks))
            cluster.run(0.05)
        cluster.run(3.0)
        assert joiner.node.is_ready
        transfers = joiner.node.transfers.joiner.transfer
        assert transfers > 4
        assert SESSIONS <= sent.chunks < SESSIONS + transfers, "one at each death was on its way"
        assert all(values(joiner, key) for key in keys)

    def test_the_only_one_and_the_joiner_goes_on_with_what_it_has(self) -> None:
        cluster, keys = two_with_sessions()
        cluster.crash("b")
        cluster.run(1.0)
        joiner = cluster.start("c")
        until_it_has(cluster, joiner, 5)
        cluster.crash("a")
        cluster.run(1.5)
        assert joiner.node.is_ready
        assert told(cluster, "c", StateSkipped)
        assert sum(values(joiner, key) is not None for key in keys) >= 5

    def test_one_whose_link_breaks_goes_on_where_it_was(self) -> None:
        cluster, keys = two_with_sessions()
        cluster.crash("b")
        cluster.run(1.0)
        joiner = cluster.start("c")
        until_it_has(cluster, joiner, 5)
        for end in cluster.network.ends_of(joiner):
            cluster.network.reset(end, "connection reset")
        sent = count_chunks(cluster)
        cluster.run(3.0)
        # Both ends dial, and the link that stays is not always the one that comes first.
        transfers = joiner.node.transfers.joiner.transfer
        assert transfers > 1
        assert SESSIONS - 5 - transfers <= sent.chunks <= SESSIONS - 5 + transfers
        assert all(values(joiner, key) for key in keys)
        agree(cluster)

    def test_what_was_written_meanwhile_in_a_finished_bucket_is_not_lost(self) -> None:
        cluster, keys = two_with_sessions()
        joiner = cluster.start("c")
        donor = until_it_has(cluster, joiner, 6)
        writer = cluster.processes["b" if donor == "a" else "a"]
        assert write(writer, keys[0], user=b"\x02")
        invalidate(writer, keys[1])
        late = create(writer, 1024)
        cluster.run(0.1)
        cluster.crash(donor)
        cluster.run(3.0)
        assert values(joiner, keys[0]) == {"cart": b"\x01", "user": b"\x02"}
        assert values(joiner, keys[1]) is None
        assert values(joiner, late) is not None
        agree(cluster)


class TestJoinerDies:
    @pytest.mark.parametrize("chunks", range(SESSIONS + 1))
    def test_at_every_chunk_and_its_next_start_gets_everything(self, chunks: int) -> None:
        cluster, keys = two_with_sessions(replace(TINY, transfers_at_once_max=1))
        joiner = cluster.start("c")
        until_it_has(cluster, joiner, chunks)
        cluster.crash("c")
        again = cluster.start("c")
        cluster.run(3.0)
        assert again.node.is_ready
        assert told(cluster, "c", StateReceived)[-1].sessions == {"/": SESSIONS}
        assert all(values(again, key) for key in keys)
        assert all(
            peer.donor is None for process in members(cluster) for peer in process.node.peers
        )
        agree(cluster)


class TestDonorsThatDiffer:
    def test_what_only_the_first_one_had_is_settled_by_repair(self) -> None:
        # Two donors were cut off from each other for longer than ends are remembered. Each has a
        # session that the other one has ended and forgotten. The joiner has one of them from the
        # first donor, which dies, and what the second one has forgotten from the second.
        config = NodeConfig(TINY, SHORT)
        cluster = Cluster(1, tuple("abc"), config, SLOW)
        cluster.start("a")
        cluster.start("b")
        cluster.run(3.0)
        a, b = (cluster.processes[name] for name in "ab")
        of_a, of_b = create(a, 1), create(b, 2)
        rest = [create(a, number) for number in range(3, SESSIONS)]
        cluster.run(1.0)
        cluster.network.cut(cluster.pairs(["a"], ["b"]))
        cluster.run(4.0)
        invalidate(a, of_b)
        invalidate(b, of_a)
        cluster.run(LONG_CUT_S)
        assert len(a.node.store) == len(b.node.store) == SESSIONS - 2, "both have forgotten"
        joiner = cluster.start("c")
        donor = until_it_has(cluster, joiner, 4)
        buried, kept = (of_a, of_b) if donor == "a" else (of_b, of_a)
        cluster.crash(donor)
        while not joiner.node.is_ready:
            assert values(joiner, buried) is not None
            cluster.run(0.005)
        cluster.run(1.0)
        other = b if donor == "a" else a
        for process in (joiner, other):
            assert values(process, buried) is None, "the second donor buried it"
            assert all(values(process, key) for key in rest)
        assert other.node.metrics.sessions_buried == 1
        assert (values(joiner, kept) is None) == (values(other, kept) is None)
        agree(cluster)
