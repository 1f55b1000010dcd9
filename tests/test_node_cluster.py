"""Several nodes wired in memory: what each part does by itself is tested with the parts."""

from __future__ import annotations

from replsession.config import Limits, Timing
from replsession.events import (
    DonorLost,
    MemberJoined,
    MemberLeft,
    MemberReachable,
    MemberUnreachable,
    SessionChanged,
    SessionExpired,
    StateReceived,
    StateRequested,
    StateSkipped,
)
from replsession.identity import Address
from replsession.messages import (
    Accesses,
    Deltas,
    Goodbye,
    Probe,
    StateChunk,
    StateCredit,
)
from replsession.node import Node
from replsession.replication.freshness import Lookup
from replsession.session.change import Change
from replsession.session.expiry import SessionLimits, encoded_limits
from replsession.session.record import INTERVAL, SECRET, Record
from replsession.wire.encoding import encode
from tests.harness import (
    Network,
    some_id,
    some_key,
)

KEY = some_key(1)
HASH, NEXT_HASH = b"h" * 16, b"n" * 16
TEN_SECONDS = {INTERVAL: encoded_limits(SessionLimits(10, None))}


def cluster(*numbers: int, limits: Limits | None = None, timing: Timing | None = None) -> Network:
    """Members that have found each other and are ready."""
    network = Network()
    for number in numbers:
        network.add(number, limits=limits, timing=timing)
    network.run(2.0)
    assert all(node.is_ready for node in network.nodes.values())
    return network


def opened(
    network: Network, name: str, secret_hash: bytes | None = None
) -> dict[str, bytes] | None:
    """Open the session for a request, which waits if it must; return its values."""
    found: list[Record | Lookup | None] = []

    def request(is_final: bool) -> Record | Lookup | None:
        def call(node: Node, now: float) -> None:
            found.append(node.open(KEY, now, secret_hash, is_final=is_final))

        network.input(name, call)
        return found[-1]

    record = request(False)
    if isinstance(record, Lookup):
        network.run(0.0)
        assert record.is_done, "everybody answers in the same moment"
        record = request(True)
    return record.values() if isinstance(record, Record) else None


def test_members_find_each_other_and_have_one_link_for_each_pair() -> None:
    network = cluster(1, 2, 3)

    for name, node in network.nodes.items():
        others = [other.me.id for other in network.nodes.values() if other is not node]
        assert [member.id for member in node.membership.view] == others
        assert sorted(node.membership.link_of) == others
        assert len(node.membership.links) == 2
        joined = [event.member.id for event in network.told(name, MemberJoined)]
        assert sorted(joined) == others
        assert network.told(name, MemberLeft) == []


def test_a_commit_is_seen_by_all_members() -> None:
    network = cluster(1, 2, 3)
    network.commit("m1", KEY, {"x": b"\x01"}, birth=True)
    for name in network.nodes:
        assert opened(network, name) == {"x": b"\x01"}

    network.commit("m2", KEY, {"x": b"\x02", "y": b"\x03"})
    network.commit("m3", KEY, {"y": None, "z": b"\x04"})
    for name in network.nodes:
        assert opened(network, name) == {"x": b"\x02", "z": b"\x04"}
        assert network.nodes[name].metrics.gaps == 0


def test_two_writers_at_once_keep_both_attributes() -> None:
    network = cluster(1, 2)
    network.commit("m1", KEY, {"x": b"\x01"}, birth=True)
    for name in network.nodes:
        network.hold(name)
    network.commit("m1", KEY, {"one": b"\x01"})
    network.commit("m2", KEY, {"two": b"\x02"})
    for name in network.nodes:
        network.release(name)

    for name in network.nodes:
        assert network.values(name, KEY) == {"x": b"\x01", "one": b"\x01", "two": b"\x02"}


def test_an_ended_session_is_over_everywhere_and_stays_so() -> None:
    network = cluster(1, 2, 3)
    network.commit("m1", KEY, {"x": b"\x01"}, birth=True)
    network.hold("m2")
    network.commit("m2", KEY, {"late": b"\x01"})
    network.destroy("m3", KEY)
    network.release("m2")
    network.run(10.0)

    for name, node in network.nodes.items():
        assert opened(network, name) is None
        assert node.commit(Change(KEY, {"again": b"\x01"}), network.now) is None
        assert node.commit(Change(KEY, {}, destroy=True), network.now) is None


def test_a_session_that_is_not_here_is_not_made_by_a_write() -> None:
    network = cluster(1)
    node = network.nodes["m1"]

    assert node.commit(Change(KEY, {"x": b"\x01"}), network.now) is None
    assert node.commit(Change(KEY, {}, destroy=True), network.now) is None
    assert node.open(KEY, network.now) is None
    assert (len(node.store), node.metrics.commits, node.metrics.opens) == (0, 0, 1)


def test_an_id_from_before_a_rotation_opens_nothing_anywhere() -> None:
    network = cluster(1, 2)
    network.commit("m1", KEY, {SECRET: HASH, "x": b"\x01"}, birth=True)
    assert opened(network, "m2", HASH) == {"x": b"\x01"}

    network.commit("m2", KEY, {SECRET: NEXT_HASH})
    for name in network.nodes:
        assert opened(network, name, HASH) is None
        assert opened(network, name, NEXT_HASH) == {"x": b"\x01"}
        assert opened(network, name) == {"x": b"\x01"}


def test_a_request_can_ask_for_the_access_before_its_own() -> None:
    network = cluster(1)
    network.commit("m1", KEY, {"x": b"\x01"}, birth=True)
    written_at = network.now
    for _ in range(2):
        network.run(3.0)
        record = network.nodes["m1"].open(KEY, network.now)
        assert isinstance(record, Record)
        assert (record.accessed_before, record.accessed) == (written_at, network.now)
        written_at = network.now


def test_reading_sends_no_frame() -> None:
    network = cluster(1, 2)
    network.commit("m1", KEY, {"x": b"\x01"}, birth=True)
    network.run(0.05)
    for name, node in network.nodes.items():
        before = (len(network.sent[name]), node.metrics.frames_sent)
        for _ in range(50):
            assert opened(network, name) == {"x": b"\x01"}
        assert (len(network.sent[name]), node.metrics.frames_sent) == before
        assert node.metrics.accesses_sent == 0


def test_after_a_tenth_of_the_interval_one_batch_of_accesses_goes_to_everybody() -> None:
    network = cluster(1, 2, 3)
    network.commit("m1", KEY, {**TEN_SECONDS, "x": b"\x01"}, birth=True)
    network.run(1.25)
    for _ in range(10):
        opened(network, "m2")
    network.run(1.0)

    assert [len(message.accesses) for message in network.frames_of("m2", Accesses)] == [1, 1]
    assert network.frames_of("m1", Accesses) == network.frames_of("m3", Accesses) == []


def test_a_session_that_is_read_on_one_member_lives_on_all() -> None:
    network = cluster(1, 2)
    network.commit("m1", KEY, {**TEN_SECONDS, "x": b"\x01"}, birth=True)
    for _ in range(30):
        network.run(1.0)
        assert opened(network, "m2") == {"x": b"\x01"}

    assert opened(network, "m1") == {"x": b"\x01"}


def test_a_session_that_nobody_reads_is_over_and_told_where_somebody_listens() -> None:
    network = cluster(1, 2)
    network.nodes["m2"].report(KEY.context)
    network.commit("m1", KEY, {**TEN_SECONDS, SECRET: HASH, "x": b"\x01"}, birth=True)
    network.run(9.9)
    assert network.values("m1", KEY) == {"x": b"\x01"}
    network.run(10.0)

    for name in network.nodes:
        assert opened(network, name) is None
    assert network.told("m2", SessionExpired) == [SessionExpired(KEY, HASH)]
    assert network.told("m1", SessionExpired) == []


def test_listeners_hear_of_other_members_writes_only() -> None:
    network = cluster(1, 2)
    for node in network.nodes.values():
        node.report(KEY.context)
    network.commit("m1", KEY, {SECRET: HASH, "x": b"\x01"}, birth=True)

    assert network.told("m1", SessionChanged) == []
    assert network.told("m2", SessionChanged) == [
        SessionChanged(KEY, HASH, True, False, (("x", None, b"\x01"),))
    ]


def test_a_member_that_starts_gets_the_state_in_chunks() -> None:
    network = cluster(1, limits=Limits(chunk_bytes=2000, piece_bytes=1000))
    for number in range(1, 41):
        network.commit("m1", some_key(number), {"x": bytes(300)}, birth=True)
    network.commit("m1", some_key(50), {f"n{n}": bytes(700) for n in range(5)}, birth=True)
    network.destroy("m1", some_key(1))
    joiner = network.add(2)
    network.run(2.0)

    assert joiner.is_ready
    (received,) = network.told("m2", StateReceived)
    assert received.donor.name == "m1"
    assert received.sessions == {KEY.context: 40}  # the ended one is none
    assert received.bytes[KEY.context] > 15_000
    assert len(network.frames_of("m1", StateChunk)) > 5
    assert joiner.store.digests(network.now) == network.nodes["m1"].store.digests(network.now)
    assert network.values("m2", some_key(50)) == network.values("m1", some_key(50))
    assert network.values("m2", some_key(1)) is None
    assert joiner.metrics.partial_records <= 1


def test_what_is_written_during_a_transfer_is_not_lost() -> None:
    network = cluster(1, limits=Limits(chunk_bytes=300, transfer_window_chunks=1))
    for number in range(1, 21):
        network.commit("m1", some_key(number), {"x": bytes(100)}, birth=True)
    network.hold("m1")
    joiner = network.add(2)
    network.run(0.3)
    for number in (1, 20):
        network.commit("m1", some_key(number), {"y": b"\x02"})
    network.destroy("m1", some_key(5))
    network.commit("m1", some_key(30), {"x": b"\x03"}, birth=True)
    network.release("m1")
    network.run(1.0)

    assert joiner.is_ready
    for number in range(1, 31):
        assert network.values("m2", some_key(number)) == network.values("m1", some_key(number))


def test_a_donor_that_serves_others_refuses_and_the_joiner_asks_again() -> None:
    network = cluster(1, limits=Limits(transfers_at_once_max=1, chunk_bytes=100))
    for number in range(1, 11):
        network.commit("m1", some_key(number), {"x": bytes(100)}, birth=True)
    network.hold("m2", StateCredit)
    network.add(2)
    network.add(3)
    network.run(0.5)
    assert [event.reason for event in network.told("m3", DonorLost)] == ["refused"]
    network.release("m2")
    network.run(3.0)

    for name in ("m2", "m3"):
        assert len(network.told(name, StateReceived)) == 1
        assert network.values(name, some_key(10)) == {"x": bytes(100)}


def test_a_donor_that_dies_in_the_middle_is_replaced_by_the_next_one() -> None:
    network = cluster(1, 2, limits=Limits(chunk_bytes=100))
    for number in range(1, 11):
        network.commit("m1", some_key(number), {"x": bytes(100)}, birth=True)
    network.hold("m3", StateCredit)
    joiner = network.add(3)
    network.run(0.5)
    (first,) = network.told("m3", StateRequested)
    assert not joiner.is_ready
    network.kill(first.donor.name)
    network.release("m3")
    network.run(1.0)

    (received,) = network.told("m3", StateReceived)
    assert sorted([first.donor.name, received.donor.name]) == ["m1", "m2"]
    assert [event.donor.name for event in network.told("m3", DonorLost)] == [first.donor.name]
    for number in range(1, 11):
        assert network.values("m3", some_key(number)) == {"x": bytes(100)}


def test_a_member_that_stops_sends_what_waits_and_says_goodbye() -> None:
    network = cluster(1, 2)
    network.nodes["m1"].commit(Change(KEY, {"x": b"\x01"}, birth=True), network.now)
    network.stop("m1")

    assert [type(message) for message in network.sent["m1"][-2:]] == [Deltas, Goodbye]
    assert network.values("m2", KEY) == {"x": b"\x01"}
    assert [event.reason for event in network.told("m2", MemberLeft)] == ["said goodbye"]
    network.run(5.0)
    assert network.dials_refused == []


def test_a_member_that_is_killed_is_known_at_once() -> None:
    network = cluster(1, 2, 3)
    network.commit("m1", KEY, {"x": b"\x01"}, birth=True)
    network.kill("m1")

    for name in ("m2", "m3"):
        (left,) = network.told(name, MemberLeft)
        assert (left.member.name, left.reason) == ("m1", "connection refused")
        assert opened(network, name) == {"x": b"\x01"}


def test_a_member_that_starts_again_is_a_new_one_and_gets_its_sessions_back() -> None:
    network = cluster(1, 2)
    network.commit("m1", KEY, {"x": b"\x01"}, birth=True)
    network.kill("m1")
    network.run(1.0)
    network.commit("m2", KEY, {"x": b"\x02"})
    again = network.add(11, name="m1", port=4001)
    network.run(2.0)

    assert again.is_ready
    assert network.values("m1", KEY) == {"x": b"\x02"}
    assert [member.id for member in network.nodes["m2"].membership.view] == [some_id(11)]


def test_a_member_that_hangs_is_gone_after_four_seconds_and_back_when_it_answers() -> None:
    network = cluster(1, 2)
    network.hold("m1")
    network.run(3.1)
    assert len(network.frames_of("m2", Probe)) == 1
    assert network.told("m2", MemberLeft) == []
    network.run(1.0)
    assert [event.reason for event in network.told("m2", MemberLeft)] == ["silent for 4.0 s"]
    network.commit("m2", KEY, {"x": b"\x01"}, birth=True)

    network.drop_held("m1")
    network.run(10.0)
    assert len(network.told("m2", MemberJoined)) == 2
    assert network.values("m1", KEY) == {"x": b"\x01"}


def test_members_that_were_apart_agree_when_they_meet() -> None:
    network = cluster(1, 2)
    for number in (1, 2, 3):
        network.commit("m1", some_key(number), {"x": b"\x01"}, birth=True)
    network.part("m1", "m2")
    network.run(5.0)
    assert len(network.told("m1", MemberLeft)) == len(network.told("m2", MemberLeft)) == 1
    network.commit("m1", some_key(1), {"one": b"\x01"})
    network.commit("m2", some_key(1), {"two": b"\x02"})
    network.destroy("m2", some_key(2))
    network.commit("m1", some_key(2), {"late": b"\x01"})
    network.commit("m2", some_key(4), {"x": b"\x04"}, birth=True)
    network.meet("m1", "m2")
    network.run(8.0)

    for name in network.nodes:
        assert network.values(name, some_key(1)) == {"x": b"\x01", "one": b"\x01", "two": b"\x02"}
        assert network.values(name, some_key(2)) is None
        assert network.values(name, some_key(3)) == {"x": b"\x01"}
        assert network.values(name, some_key(4)) == {"x": b"\x04"}


def test_a_write_beats_what_its_writer_had_read_whatever_the_wall_clocks_say() -> None:
    network = Network()
    network.add(1, wall_ahead_s=3600.0)
    network.add(2)
    network.run(2.0)
    network.commit("m1", KEY, {"x": b"\x01"}, birth=True)
    assert opened(network, "m2") == {"x": b"\x01"}
    network.commit("m2", KEY, {"x": b"\x02"})

    for name in network.nodes:
        assert network.values(name, KEY) == {"x": b"\x02"}


def test_counters_count() -> None:
    network = cluster(1, 2)
    network.commit("m1", KEY, {"x": b"\x01"}, birth=True)
    network.commit("m1", KEY, {"x": b"\x02"})
    opened(network, "m1")
    network.run(0.05)
    mine, theirs = (network.nodes[name].metrics for name in ("m1", "m2"))

    assert (mine.commits, mine.opens, mine.deltas_sent, mine.deltas_acknowledged) == (2, 1, 2, 2)
    assert (theirs.commits, theirs.deltas_received) == (0, 2)
    assert mine.frames_sent == len(network.sent["m1"])
    assert mine.bytes_sent == sum(len(encode(message)) for message in network.sent["m1"])


def test_the_first_of_all_members_skips_the_transfer() -> None:
    network = cluster(1, 2)

    for name in network.nodes:
        assert len(network.told(name, StateSkipped)) == 1
        assert network.told(name, StateReceived) == []


def test_a_seed_is_enough_to_find_everybody() -> None:
    network = Network()
    network.has_multicast = False
    seeds: list[Address] = []

    def look(node: Node, now: float) -> None:
        # Each knows the one before it.
        node.addresses_found(seeds[-1:], now)

    for number in (1, 2, 3, 4):
        node = network.add(number)
        network.input(f"m{number}", look)
        seeds.append(node.me.address)
        network.run(0.5)
    network.run(2.0)

    for node in network.nodes.values():
        assert len(node.membership.link_of) == 3
        assert node.is_ready
        assert sorted(node.membership.linked_with) == sorted(node.membership.link_of)


def test_two_that_cannot_meet_hear_each_other_through_a_third() -> None:
    network = cluster(1, 2, 3)
    network.commit("m1", KEY, {"x": b"\x01"}, birth=True)
    network.part("m1", "m2")
    network.run(5.0)
    for name, other in (("m1", "m2"), ("m2", "m1")):
        (event,) = network.told(name, MemberUnreachable)
        assert (event.member.name, event.via.name) == (other, "m3")
        assert network.told(name, MemberLeft) == []
    network.commit("m1", KEY, {"x": b"\x02"})
    network.commit("m2", KEY, {"y": b"\x03"})
    for name in network.nodes:
        assert network.values(name, KEY) == {"x": b"\x02", "y": b"\x03"}
    network.destroy("m2", KEY)
    assert network.values("m1", KEY) is None
    assert network.nodes["m3"].metrics.deltas_relayed == 3

    network.meet("m1", "m2")
    network.run(7.0)
    for name in ("m1", "m2"):
        assert len(network.told(name, MemberReachable)) == 1
        assert len(network.told(name, MemberJoined)) == 2


def test_what_was_in_flight_between_two_that_were_parted_is_repaired_at_once() -> None:
    network = cluster(1, 2, 3)
    network.part("m1", "m2")
    network.commit("m1", KEY, {"x": b"\x01"}, birth=True)
    network.run(4.4)

    assert len(network.told("m2", MemberUnreachable)) == 1
    assert network.values("m2", KEY) == {"x": b"\x01"}
