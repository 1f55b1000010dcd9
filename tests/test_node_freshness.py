"""Freshness between nodes: a request waits for what its client has seen, and never for long."""

from __future__ import annotations

from replsession.config import Limits, Timing
from replsession.messages import (
    Accesses,
    Deltas,
    RecordAnswer,
    RecordInquiry,
    RepairAnswer,
    RepairOffer,
    StateCredit,
)
from replsession.replication.freshness import Lookup
from replsession.session.expiry import SessionLimits, encoded_limits
from replsession.session.record import INTERVAL, SECRET, Record
from replsession.session.stamp import NOTHING_SEEN, Seen
from tests.harness import Network, of_kind, some_id, some_key

KEY = some_key(1)
TIMING = Timing()
SOON_S, SECOND_S, BOUND_S = TIMING.fresh_wait_s, TIMING.fresh_second_s, TIMING.fresh_timeout_s
BARELY_S = 0.0001
TEN_SECONDS = {INTERVAL: encoded_limits(SessionLimits(10, None))}


def cluster(*numbers: int, **bounds: int) -> Network:
    """Members that have found each other and are ready."""
    network = Network()
    for number in numbers:
        network.add(number, limits=Limits(**bounds))
    network.run(2.0)
    assert all(node.is_ready for node in network.nodes.values())
    return network


def seen_on(network: Network, name: str) -> Seen:
    """What a client has seen that was served by this member."""
    record = network.nodes[name].store.peek(KEY)
    assert record is not None
    return Seen(record.seen(), max(record.seen().values()))


def waiting(network: Network, name: str = "m2", seen: Seen = NOTHING_SEEN) -> Lookup:
    """Begin a request that has to wait."""
    found = network.look_up(name, KEY, seen)
    assert isinstance(found, Lookup)
    return found


def served(network: Network, name: str = "m2") -> dict[str, bytes] | None:
    """What a request gets when its wait is over."""
    found = network.look_up(name, KEY, is_final=True)
    assert not isinstance(found, Lookup)
    return None if found is None else found.values()


def inquiries(network: Network, name: str = "m2") -> int:
    """How many inquiries a member has sent."""
    return len(network.frames_of(name, RecordInquiry))


def behind(*numbers: int, **bounds: int) -> tuple[Network, Seen]:
    """Members of which the second has not got the latest write of the first, nor will soon."""
    network = cluster(*numbers, **bounds)
    network.commit("m1", KEY, {"x": b"\x01"}, birth=True)
    network.run(1.0)
    network.part("m1", "m2")
    network.commit("m1", KEY, {"x": b"\x02"})
    return network, seen_on(network, "m1")


def test_what_is_covered_waits_for_nobody() -> None:
    network = cluster(1, 2)
    network.commit("m1", KEY, {"x": b"\x01"}, birth=True)
    # That it was used on the second one as well is told once, at the first request.
    assert isinstance(network.look_up("m2", KEY), Record)
    sent = len(network.sent["m2"])
    for seen in (NOTHING_SEEN, seen_on(network, "m1"), Seen({some_id(2): 1 << 60}, 1 << 60)):
        found = network.look_up("m2", KEY, seen)
        assert isinstance(found, Record)

    assert len(network.sent["m2"]) == sent
    assert network.nodes["m2"].metrics.requests_waited == 0


def test_a_delta_under_way_is_waited_for_and_nobody_is_asked() -> None:
    network = cluster(1, 2)
    network.commit("m1", KEY, {"x": b"\x01"}, birth=True)
    network.hold("m1", Deltas)
    network.commit("m1", KEY, {"x": b"\x02"})
    lookup = waiting(network, seen=seen_on(network, "m1"))
    assert (lookup.is_done, lookup.is_behind) == (False, True)
    network.run(SOON_S - BARELY_S)
    network.release("m1")

    assert (lookup.is_done, lookup.is_fresh) == (True, True)
    assert of_kind(Lookup, network.done["m2"]) == [lookup]
    assert served(network) == {"x": b"\x02"}
    assert inquiries(network) == 0
    metrics = network.nodes["m2"].metrics
    assert (metrics.requests_waited, metrics.inquiries_sent) == (1, 0)


def test_the_birth_that_is_under_way_is_waited_for_too() -> None:
    network = cluster(1, 2)
    network.hold("m1", Deltas)
    network.commit("m1", KEY, {"x": b"\x01"}, birth=True)
    lookup = waiting(network, seen=seen_on(network, "m1"))
    network.run(SOON_S - BARELY_S)
    assert (lookup.is_done, inquiries(network)) == (False, 0)
    network.release("m1")

    assert lookup.is_fresh
    assert served(network) == {"x": b"\x01"}


def test_after_a_moment_its_writer_is_asked_and_nobody_else() -> None:
    network = cluster(1, 2, 3)
    network.commit("m1", KEY, {"x": b"\x01"}, birth=True)
    network.hold("m1", Deltas)
    network.commit("m1", KEY, {"x": b"\x02"})
    lookup = waiting(network, seen=seen_on(network, "m1"))
    network.run(SOON_S - BARELY_S)
    assert inquiries(network) == 0
    network.run(BARELY_S)

    assert lookup.is_fresh
    assert served(network) == {"x": b"\x02"}
    assert len(network.frames_of("m1", RecordAnswer)) == 1
    assert network.frames_of("m3", RecordAnswer) == []
    assert network.nodes["m2"].metrics.inquiries_sent == 1


def test_when_the_writer_does_not_answer_the_others_are_asked() -> None:
    network, seen = behind(1, 2, 3)
    assert network.values("m3", KEY) == {"x": b"\x02"}
    lookup = waiting(network, seen=seen)
    network.run(SOON_S + SECOND_S - BARELY_S)
    assert (lookup.is_done, inquiries(network)) == (False, 1)
    network.run(BARELY_S)

    assert lookup.is_fresh
    assert served(network) == {"x": b"\x02"}
    assert network.nodes["m2"].metrics.inquiries_sent == 2


def test_when_nobody_else_has_it_the_wait_has_a_bound() -> None:
    network, seen = behind(1, 2)
    lookup = waiting(network, seen=seen)
    network.run(BOUND_S - BARELY_S)
    assert not lookup.is_done
    network.run(BARELY_S)

    assert (lookup.is_done, lookup.is_fresh, lookup.is_certain) == (True, False, False)
    assert served(network) == {"x": b"\x01"}
    assert lookup.is_behind


def test_when_its_writer_is_gone_all_are_asked_and_nobody_waits() -> None:
    network = cluster(1, 2, 3)
    network.commit("m1", KEY, {"x": b"\x01"}, birth=True)
    for other in ("m2", "m3"):
        network.part("m1", other)
    network.commit("m1", KEY, {"x": b"\x02"})
    seen = seen_on(network, "m1")
    network.run(6.0)
    assert len(network.nodes["m2"].membership.view) == 1
    lookup = waiting(network, seen=seen)

    # It may come back with what it wrote, so nobody is certain.
    assert (lookup.is_done, lookup.is_fresh, lookup.is_certain) == (True, False, False)
    assert inquiries(network) == 1
    assert served(network) == {"x": b"\x01"}


def test_what_the_client_has_seen_of_nobody_left_is_stale_at_once() -> None:
    network, seen = behind(1, 2)
    network.run(6.0)
    assert len(network.nodes["m2"].membership.view) == 0
    lookup = waiting(network, seen=seen)

    assert (lookup.is_done, lookup.is_behind, lookup.is_fresh) == (True, True, False)
    assert of_kind(Lookup, network.done["m2"]) == [], "who asked knows it already"
    assert served(network) == {"x": b"\x01"}


def test_a_writer_that_dies_while_it_is_asked_is_not_waited_for() -> None:
    network, _ = behind(1, 2, 3)
    network.part("m1", "m3")
    network.commit("m1", KEY, {"x": b"\x03"})
    lookup = waiting(network, seen=seen_on(network, "m1"))
    network.run(SOON_S)
    assert (lookup.is_done, inquiries(network)) == (False, 1)
    network.meet("m1", "m2")
    network.meet("m1", "m3")
    network.kill("m1")

    # It may come back with what it wrote, so nobody is certain.
    assert (lookup.is_done, lookup.is_fresh, lookup.is_certain) == (True, False, False)
    assert served(network) == {"x": b"\x02"}, "the third had that"


def test_when_the_only_other_member_dies_while_it_is_asked_nobody_waits() -> None:
    network, seen = behind(1, 2)
    lookup = waiting(network, seen=seen)
    network.run(SOON_S)
    network.meet("m1", "m2")
    network.kill("m1")

    # It may come back with what it wrote, so nobody is certain.
    assert (lookup.is_done, lookup.is_fresh, lookup.is_certain) == (True, False, False)


def test_what_a_former_run_of_a_member_wrote_is_had_from_the_others() -> None:
    network = cluster(1, 2, 3)
    network.hold("m3", Deltas, RepairOffer, RepairAnswer)
    network.part("m1", "m2")
    network.commit("m1", KEY, {"x": b"\x01"}, birth=True)
    seen = seen_on(network, "m1")
    network.meet("m1", "m2")
    network.kill("m1")
    lookup = waiting(network, seen=seen)

    assert lookup.is_fresh
    assert served(network) == {"x": b"\x01"}


def test_an_unknown_session_is_asked_for_at_once_and_found() -> None:
    network = cluster(1, 2, 3)
    network.hold("m1", Deltas)
    network.commit("m1", KEY, {"x": b"\x01"}, birth=True)
    lookup = waiting(network)

    assert (lookup.is_done, lookup.is_fresh, lookup.is_behind) == (True, True, False)
    assert served(network) == {"x": b"\x01"}
    assert network.nodes["m2"].metrics.inquiries_sent == 2


def test_what_nobody_knows_is_unknown_and_that_is_remembered() -> None:
    network = cluster(1, 2, 3)
    lookup = waiting(network)
    assert (lookup.is_done, lookup.is_fresh, lookup.is_certain) == (True, False, True)
    assert served(network) is None
    assert inquiries(network) == 2
    network.run(TIMING.unknown_retention_s - BARELY_S)
    assert network.look_up("m2", KEY) is None
    assert inquiries(network) == 2

    network.run(BARELY_S)
    assert waiting(network).is_certain
    assert inquiries(network) == 4


def test_what_is_remembered_as_unknown_is_served_when_it_comes_all_the_same() -> None:
    network = cluster(1, 2)
    assert waiting(network).is_certain
    network.commit("m1", KEY, {"x": b"\x01"}, birth=True)

    assert isinstance(network.look_up("m2", KEY, seen_on(network, "m1")), Record)


def test_a_session_that_is_here_and_behind_is_not_remembered_as_unknown() -> None:
    network = cluster(1, 2, 3)
    one_second = {INTERVAL: encoded_limits(SessionLimits(1, None))}
    network.commit("m1", KEY, {**one_second, "x": b"\x01"}, birth=True)
    lost = some_id(99)
    # One that was here, and is gone.
    network.nodes["m2"].waits.freshness.member_met(lost)
    lookup = waiting(network, seen=Seen({lost: 1 << 60}, 1 << 60))
    assert (lookup.is_done, lookup.is_certain, lookup.is_behind) == (True, True, True)
    network.run(1.1)

    assert waiting(network).is_certain, "now it is over here, and others are asked"


def test_all_are_asked_again_while_a_writer_that_was_never_met_may_just_begin() -> None:
    network = cluster(1, 2, 3)
    network.commit("m1", KEY, {"x": b"\x01"}, birth=True)
    again_s = network.nodes["m2"].timing.fresh_again_s
    lookup = waiting(network, seen=Seen({some_id(99): 1 << 60}, 1 << 60))
    assert (lookup.is_done, inquiries(network)) == (False, 2)
    network.run(again_s + BARELY_S)
    assert (lookup.is_done, inquiries(network)) == (False, 4)
    network.run(BOUND_S)

    assert (lookup.is_done, lookup.is_fresh, lookup.is_certain) == (True, False, False)
    assert inquiries(network) <= 2 * (1 + BOUND_S / again_s)
    assert served(network) == {"x": b"\x01"}, "for who has seen nothing of that writer"


def test_a_member_that_does_not_answer_leaves_it_open_whether_there_is_one() -> None:
    network = cluster(1, 2, 3)
    network.part("m1", "m2")
    lookup = waiting(network)
    network.run(BOUND_S)
    assert (lookup.is_done, lookup.is_fresh, lookup.is_certain) == (True, False, False)

    assert waiting(network).is_done is False, "that was no answer to remember"


def test_a_session_that_is_over_here_may_have_been_used_elsewhere() -> None:
    network = cluster(1, 2)
    network.commit("m1", KEY, {**TEN_SECONDS, "x": b"\x01"}, birth=True)
    network.hold("m1", Accesses)
    network.run(8.0)
    assert served(network, "m1") == {"x": b"\x01"}
    network.run(2.5)
    lookup = waiting(network)
    assert (lookup.is_done, lookup.is_fresh, lookup.is_behind) == (True, True, False)

    assert served(network) == {"x": b"\x01"}
    network.run(9.0)
    assert served(network) == {"x": b"\x01"}, "that was an access of its own"


def test_a_session_that_is_over_everywhere_is_over() -> None:
    network = cluster(1, 2)
    network.commit("m1", KEY, {**TEN_SECONDS, "x": b"\x01"}, birth=True)
    network.run(11.0)
    lookup = waiting(network)
    assert (lookup.is_done, lookup.is_fresh, lookup.is_certain) == (True, False, True)

    assert served(network) is None
    assert network.look_up("m2", KEY) is None
    assert inquiries(network) == 1


def test_an_end_that_the_client_has_not_seen_ends_the_wait() -> None:
    network, seen = behind(1, 2, 3)
    lookup = waiting(network, seen=seen)
    network.destroy("m3", KEY)

    assert (lookup.is_done, lookup.is_fresh) == (True, True)
    assert served(network) is None


def test_an_id_that_was_rotated_away_is_told_by_the_fresh_record() -> None:
    network = cluster(1, 2)
    network.commit("m1", KEY, {SECRET: b"old", "x": b"\x01"}, birth=True)
    network.hold("m1", Deltas)
    network.commit("m1", KEY, {SECRET: b"new"})
    seen = seen_on(network, "m1")
    lookup = network.look_up("m2", KEY, seen, secret_hash=b"new")
    assert isinstance(lookup, Lookup), "here it would be refused"
    network.run(SOON_S)

    assert lookup.is_fresh
    assert isinstance(network.look_up("m2", KEY, seen, secret_hash=b"new"), Record)
    assert network.look_up("m2", KEY, seen, secret_hash=b"old") is None


def test_a_member_without_its_state_calls_no_session_unknown() -> None:
    network = cluster(1, chunk_bytes=100)
    for number in range(1, 12):
        network.commit("m1", some_key(number), {"x": bytes(100)}, birth=True)
    network.commit("m1", KEY, {"x": b"\x01"})
    network.hold("m2", StateCredit, RecordInquiry)
    joiner = network.add(2)
    network.run(0.5)
    assert not joiner.is_ready
    gone = network.look_up("m2", some_key(99))
    assert isinstance(gone, Lookup)
    network.run(TIMING.join_wait_s - 1.0)
    assert not gone.is_done
    network.release("m2")
    network.run(0.5)

    assert joiner.is_ready
    assert (gone.is_done, gone.is_fresh, gone.is_certain) == (True, False, True)
    assert served(network) == {"x": b"\x01"}


def test_a_joiner_need_not_be_ready_to_serve_what_it_has_asked_for() -> None:
    network = cluster(1, chunk_bytes=100)
    for number in range(1, 12):
        network.commit("m1", some_key(number), {"x": bytes(100)}, birth=True)
    network.hold("m2", StateCredit)
    joiner = network.add(2)
    network.run(0.5)
    key = some_key(11)
    assert network.values("m2", key) is None, "the transfer has not come so far"
    lookup = network.look_up("m2", key)
    assert isinstance(lookup, Lookup)

    assert (lookup.is_fresh, joiner.is_ready) == (True, False)
    assert network.values("m2", key) == {"x": bytes(100)}


def test_the_first_member_of_all_waits_until_it_knows_that_it_is() -> None:
    network = Network()
    network.add(1)
    lookup = waiting(network, "m1")
    network.run(0.9)
    assert not lookup.is_done
    network.run(0.2)

    assert (lookup.is_done, lookup.is_certain) == (True, True)
    assert network.look_up("m1", KEY) is None


def test_a_donor_that_never_comes_is_not_waited_for_without_end() -> None:
    network = cluster(1, chunk_bytes=100)
    for number in range(2, 12):
        network.commit("m1", some_key(number), {"x": bytes(100)}, birth=True)
    network.hold("m2", StateCredit, RecordInquiry)
    joiner = network.add(2)
    network.run(0.5)
    lookup = waiting(network)
    network.run(TIMING.join_wait_s)

    assert (lookup.is_done, lookup.is_certain, joiner.is_ready) == (True, False, False)


def test_requests_for_one_session_at_once_ask_once() -> None:
    network = cluster(1, 2)
    network.hold("m1")
    lookups: list[object] = []

    def three(node: object, now: float) -> None:
        lookups.extend(network.nodes["m2"].open(KEY, now) for _ in range(3))

    network.input("m2", three)
    network.run(0.0)
    assert [message.keys for message in network.frames_of("m2", RecordInquiry)] == [(KEY,)]
    network.release("m1")

    assert all(isinstance(lookup, Lookup) and lookup.is_certain for lookup in lookups)
    assert of_kind(Lookup, network.done["m2"]) == lookups


def test_beyond_the_bound_requests_do_not_wait() -> None:
    network, seen = behind(1, 2, waiting_requests_max=2)
    lookups = [waiting(network, seen=seen) for _ in range(3)]

    assert [lookup.is_done for lookup in lookups] == [False, False, True]
    assert (lookups[2].is_fresh, lookups[2].is_behind) == (False, True)
    assert network.look_up("m2", some_key(77)) is None, "what is not here is unknown"
    metrics = network.nodes["m2"].metrics
    assert (metrics.requests_waited, metrics.requests_not_waited) == (2, 2)
    network.run(BOUND_S)
    assert not waiting(network, seen=seen).is_done


def test_inquiries_for_unknown_sessions_have_a_budget() -> None:
    network = cluster(1, 2, inquiries_per_s_max=4)
    found = [network.look_up("m2", some_key(number)) for number in range(10, 20)]

    assert [isinstance(lookup, Lookup) for lookup in found] == [True] * 4 + [False] * 6
    assert network.nodes["m2"].metrics.requests_not_waited == 6
    assert inquiries(network) == 4
    network.run(0.5)
    later = [network.look_up("m2", some_key(number)) for number in range(20, 30)]
    assert sum(isinstance(lookup, Lookup) for lookup in later) == 2
    network.run(100.0)
    later = [network.look_up("m2", some_key(number)) for number in range(30, 40)]
    assert sum(isinstance(lookup, Lookup) for lookup in later) == 4, "it is not saved up"


def test_what_the_client_has_seen_is_asked_for_whatever_the_budget() -> None:
    network, seen = behind(1, 2, 3, inquiries_per_s_max=1)
    assert isinstance(network.look_up("m2", some_key(10)), Lookup)
    assert network.look_up("m2", some_key(11)) is None
    lookup = waiting(network, seen=seen)
    network.run(SOON_S + SECOND_S)

    assert lookup.is_fresh


def test_what_is_remembered_as_unknown_has_a_bound() -> None:
    network = cluster(1, 2, unknown_sessions_max=2)
    for number in (10, 11, 12):
        assert isinstance(network.look_up("m2", some_key(number)), Lookup)
    assert inquiries(network) == 3

    assert network.look_up("m2", some_key(11)) is None
    assert network.look_up("m2", some_key(12)) is None
    assert isinstance(network.look_up("m2", some_key(10)), Lookup)
    assert inquiries(network) == 4


def test_a_write_is_above_all_that_its_client_has_seen() -> None:
    network = cluster(1, 2)
    network.commit("m1", KEY, {"x": b"\x01"}, birth=True)
    ahead = 1 << 62
    network.look_up("m2", KEY, Seen({some_id(2): ahead}, ahead))
    network.commit("m2", KEY, {"x": b"\x02"})

    record = network.nodes["m1"].store.peek(KEY)
    assert record is not None
    assert record.version[some_id(2)] > ahead
    assert network.values("m1", KEY) == {"x": b"\x02"}
