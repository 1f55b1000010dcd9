"""Requests: what the application asks and writes on one member, and what others hear of it."""

from __future__ import annotations

import pytest

from replsession.config import ITEM_HEAD_BYTES, Limits
from replsession.identity import Key
from replsession.messages import Access, Accesses
from replsession.replication.freshness import Lookup
from replsession.replication.outbox import HELD_ALL
from replsession.replication.requests import ACCESS_RESOLUTION_S, ACCESSES_IN_MESSAGE_MAX
from replsession.session import counter, flashes
from replsession.session.change import Change
from replsession.session.counter import Count
from replsession.session.delta import COUNTER, REGISTER, Delta, Write
from replsession.session.expiry import SessionLimits, encoded_limits
from replsession.session.flashes import Flash
from replsession.session.record import INTERVAL, SECRET, Record
from replsession.session.stamp import HLC_MAX, OBSERVED_MAX, Seen, Stamp
from tests.harness import Hand, Network, some_id, some_key

KEY = some_key(1)
NINE = some_id(9)
TENTH_S = 10.0
LIMITS = {INTERVAL: encoded_limits(SessionLimits(TENTH_S * 10, None))}


def member(**bounds: int) -> tuple[Network, Hand]:
    """A ready member, and the test's end as a ready member 9."""
    network = Network()
    network.add(1, limits=Limits(**bounds))
    network.run(1.0)
    hand = network.by_hand("m1", 9)
    hand.hello()
    hand.forget()
    return network, hand


def read(network: Network, secret_hash: bytes | None = None) -> dict[str, bytes] | None:
    """A request reads the session on member 1."""
    found = network.nodes["m1"].open(KEY, network.now, secret_hash)
    values = found.values() if isinstance(found, Record) else None
    network.input("m1", lambda node, now: None)
    return values


@pytest.mark.parametrize(
    ("secret_hash", "is_found"), [(None, True), (b"hash", True), (b"other", False), (b"", False)]
)
def test_a_session_opens_with_the_id_it_has_now(secret_hash: bytes | None, is_found: bool) -> None:
    network, _ = member()
    network.commit("m1", KEY, {SECRET: b"hash", "x": b"\x01"}, birth=True)

    assert read(network, secret_hash) == ({"x": b"\x01"} if is_found else None)


def test_a_session_without_an_id_opens_with_none() -> None:
    network, _ = member()
    network.commit("m1", KEY, {"x": b"\x01"}, birth=True)

    assert read(network, b"hash") is None


def test_a_partial_session_is_neither_served_nor_written_to() -> None:
    network, hand = member()
    born = Stamp(5 << 16, NINE)
    written = {"x": Write(born.hlc + 9, NINE, REGISTER, b"\x01")}
    stamp = Stamp(born.hlc + 9, NINE)
    hand.send_deltas(Delta(KEY, born, born.hlc, {NINE: stamp.hlc}, written, 0.0, stamp, 0.0))

    assert len(network.nodes["m1"].store) == 1
    assert read(network) is None
    assert network.nodes["m1"].open(KEY, network.now, is_final=True) is None
    assert network.nodes["m1"].commit(Change(KEY, {"y": b"\x02"}), network.now) is None


def test_an_ended_session_takes_nothing_more() -> None:
    network, _ = member()
    network.commit("m1", KEY, {"x": b"\x01"}, birth=True)
    network.destroy("m1", KEY)
    node = network.nodes["m1"]

    assert read(network) is None
    for change in (Change(KEY, {"y": b"\x02"}), Change(KEY, {}, birth=True)):
        assert node.commit(change, network.now) is None
    assert node.metrics.commits == 2


@pytest.mark.parametrize(("later_s", "is_over"), [(99.9, False), (100.0, True), (1e6, True)])
def test_a_session_that_was_idle_for_too_long_is_not_served(later_s: float, is_over: bool) -> None:
    network, _ = member()
    network.commit("m1", KEY, LIMITS, birth=True)

    node, at = network.nodes["m1"], network.now + later_s
    assert isinstance(node.open(KEY, at), Lookup if is_over else Record)
    assert (node.open(KEY, at, is_final=True) is None) is is_over


def test_each_request_puts_the_end_off() -> None:
    network, _ = member()
    network.commit("m1", KEY, LIMITS, birth=True)
    node = network.nodes["m1"]

    for number in range(1, 20):
        assert isinstance(node.open(KEY, network.now + number * 90.0), Record)


def test_accesses_at_the_same_moment_are_one() -> None:
    network, _ = member()
    network.commit("m1", KEY, {"x": b"\x01"}, birth=True)
    node, at = network.nodes["m1"], network.now + 5.0
    record = node.open(KEY, at)
    assert isinstance(record, Record)
    access, before = record.access, record.accessed_before
    node.open(KEY, at + ACCESS_RESOLUTION_S / 2)
    assert (record.access, record.accessed, record.accessed_before) == (access, at, before)

    node.open(KEY, at + ACCESS_RESOLUTION_S * 2)
    assert record.access > access
    assert record.accessed_before == at


def test_an_access_is_one_of_its_own_however_fresh_another_members_looks() -> None:
    network, hand = member()
    network.commit("m1", KEY, LIMITS, birth=True)
    hand.acknowledge()
    hand.live(TENTH_S * 5)
    theirs = Stamp(1 << 62, NINE)
    hand.send(Accesses((Access(KEY, theirs, 0.0),)))
    read(network)
    hand.send(Accesses((Access(KEY, theirs, TENTH_S * 4),)))
    record = network.nodes["m1"].store.peek(KEY)
    assert record is not None

    assert record.access.member == some_id(1)
    assert record.last_accessed == network.now


def test_what_is_announced_is_the_access_here_though_another_one_came_meanwhile() -> None:
    network, hand = member()
    network.commit("m1", KEY, LIMITS, birth=True)
    hand.acknowledge()
    hand.live(TENTH_S)
    read(network)
    # By a clock that is ahead: a second older, and of the greater stamp.
    hand.send(Accesses((Access(KEY, Stamp(1 << 62, NINE), 1.0),)))
    hand.live(1.5)

    ((access,),) = [message.accesses for message in hand.got(Accesses)]
    assert access.access.member == some_id(1)
    assert access.idle_s <= 1.0


def test_a_commit_travels_as_a_delta_with_what_was_written() -> None:
    network, hand = member()
    network.commit("m1", KEY, {"x": b"\x01"}, birth=True)
    network.run(0.5)
    network.commit("m1", KEY, {"y": b"\x02", "x": None})
    first, second = hand.deltas()

    assert (first.since, second.since) == (0, first.writer.hlc)
    assert first.born == second.born == first.writer
    assert first.writer < second.writer
    assert {name: write.value for name, write in first.attributes.items()} == {"x": b"\x01"}
    assert {name: write.value for name, write in second.attributes.items()} == {
        "y": b"\x02",
        "x": None,
    }
    assert second.age_s == 0.5


def test_with_nobody_there_a_commit_makes_no_frame() -> None:
    network = Network()
    network.add(1)
    network.run(1.0)
    network.commit("m1", KEY, {"x": b"\x01"}, birth=True)

    assert network.sent["m1"] == []
    assert network.values("m1", KEY) == {"x": b"\x01"}


def test_a_read_sends_nothing_before_a_tenth_of_the_interval() -> None:
    network, hand = member()
    network.commit("m1", KEY, LIMITS, birth=True)
    hand.acknowledge()
    hand.live(TENTH_S - 2)
    read(network)
    hand.live(1.5)

    assert hand.got(Accesses) == []


def test_after_a_tenth_of_the_interval_the_access_is_announced_once() -> None:
    network, hand = member()
    network.commit("m1", KEY, LIMITS, birth=True)
    hand.acknowledge()
    hand.live(TENTH_S)
    for _ in range(5):
        read(network)
    assert hand.got(Accesses) == []
    hand.live(1.0)
    for _ in range(5):
        read(network)
        hand.live(0.5)

    ((access,),) = [message.accesses for message in hand.got(Accesses)]
    assert access.key == KEY
    assert access.access.member == some_id(1)
    assert 0 <= access.idle_s <= 1.0
    assert network.nodes["m1"].metrics.accesses_sent == 1


def test_accesses_of_many_sessions_leave_in_one_message() -> None:
    network, hand = member()
    for number in range(1, 21):
        network.commit("m1", some_key(number), LIMITS, birth=True)
    hand.acknowledge()
    hand.live(TENTH_S)
    for number in range(1, 21):
        network.input("m1", lambda node, now, at=number: node.open(some_key(at), now))  # type: ignore[misc]
    hand.live(1.5)

    assert [len(message.accesses) for message in hand.got(Accesses)] == [20]


def test_a_write_announces_the_access_by_itself() -> None:
    network, hand = member()
    network.commit("m1", KEY, LIMITS, birth=True)
    hand.live(TENTH_S / 2)
    hand.acknowledge()
    hand.live(TENTH_S / 2)
    read(network)
    network.commit("m1", KEY, {"x": b"\x01"})
    hand.live(1.5)
    hand.acknowledge()

    assert hand.got(Accesses) == []


def test_an_access_elsewhere_keeps_the_session_alive_here() -> None:
    network, hand = member()
    network.commit("m1", KEY, LIMITS, birth=True)
    hand.acknowledge()
    hand.live(TENTH_S * 9)
    access = Access(KEY, Stamp(1 << 62, NINE), 2.0)
    hand.send(Accesses((access,)))
    hand.live(TENTH_S * 5)

    assert isinstance(network.nodes["m1"].open(KEY, network.now), Record)


@pytest.mark.parametrize("interval_s", [2.0, 40.0])
def test_how_often_depends_on_the_interval_of_the_session(interval_s: float) -> None:
    network, hand = member()
    limits = {INTERVAL: encoded_limits(SessionLimits(interval_s, None))}
    network.commit("m1", KEY, limits, birth=True)
    hand.acknowledge()
    for _ in range(40):
        hand.live(0.5)
        read(network)

    # Over 20 s, each time a tenth has passed, but in batches a second apart.
    expected = 20 / max(1.0, interval_s / 10)
    assert expected - 2 <= len(hand.got(Accesses)) <= expected + 1


def test_nobody_hears_of_accesses_when_nobody_is_there() -> None:
    network = Network()
    network.add(1)
    network.run(1.0)
    network.commit("m1", KEY, LIMITS, birth=True)
    network.run(TENTH_S)
    read(network)
    network.run(2.0)

    assert network.sent["m1"] == []
    assert network.nodes["m1"].metrics.accesses_sent == 0


# What is waited for, and what is marked.


@pytest.mark.parametrize("is_final", [False, True])
@pytest.mark.parametrize("seen", [{}, {NINE: 5}])
def test_what_is_not_here_is_worth_a_wait_once(seen: dict[bytes, int], is_final: bool) -> None:
    network, _ = member()
    found = network.nodes["m1"].open(KEY, network.now, None, Seen(seen, 5), is_final=is_final)

    assert found is None if is_final else isinstance(found, Lookup)


def test_with_nobody_there_what_is_not_here_is_nothing_at_once() -> None:
    network = Network()
    network.add(1)
    network.run(1.0)

    assert network.nodes["m1"].open(KEY, network.now, None, Seen({NINE: 5}, 5)) is None
    assert network.nodes["m1"].metrics.requests_waited == 0


def test_an_ended_session_is_over_whatever_the_client_has_seen() -> None:
    network, _ = member()
    network.commit("m1", KEY, {"x": b"\x01"}, birth=True)
    network.destroy("m1", KEY)

    assert network.nodes["m1"].open(KEY, network.now, None, Seen({NINE: 1 << 60}, 1 << 60)) is None


@pytest.mark.parametrize("secret_hash", [b"hash", b"other"])
def test_what_the_client_has_seen_comes_before_its_id(secret_hash: bytes) -> None:
    network, _ = member()
    network.commit("m1", KEY, {SECRET: b"hash"}, birth=True)
    node = network.nodes["m1"]
    assert isinstance(node.open(KEY, network.now, secret_hash, Seen({NINE: 5}, 5)), Lookup)
    final = node.open(KEY, network.now, secret_hash, Seen({NINE: 5}, 5), is_final=True)

    assert (final is None) is (secret_hash == b"other")


def test_a_lookup_is_no_access() -> None:
    network, _ = member()
    network.commit("m1", KEY, LIMITS, birth=True)
    record = network.nodes["m1"].store.peek(KEY)
    assert record is not None
    network.run(2.0)
    before = record.accessed, record.access
    assert isinstance(network.look_up("m1", KEY, Seen({NINE: 5}, 5)), Lookup)

    assert (record.accessed, record.access) == before


def test_a_reserved_stamp_is_below_the_next_commit_and_above_all_before() -> None:
    network, hand = member()
    network.commit("m1", KEY, {"x": b"\x01"}, birth=True)
    requests = network.nodes["m1"].requests
    first, second = requests.reserve(network.now), requests.reserve(network.now)
    network.commit("m1", KEY, {"x": b"\x02"})
    born, write = (delta.writer for delta in hand.deltas())

    assert born < first < second < write
    assert first.member == some_id(1)


def test_a_commit_without_a_write_travels_for_its_stamp() -> None:
    network, hand = member()
    network.commit("m1", KEY, {"x": b"\x01"}, birth=True)
    network.commit("m1", KEY, {})
    birth, nothing = hand.deltas()

    assert (nothing.attributes, nothing.since) == ({}, birth.writer.hlc)
    assert nothing.writer > birth.writer
    assert network.values("m1", KEY) == {"x": b"\x01"}


def test_what_a_write_stands_for_is_its_stamp_and_an_end_stands_for_all() -> None:
    network, hand = member()
    peers = network.nodes["m1"].peers
    peers.tracked[KEY] = 1
    network.commit("m1", KEY, {"x": b"\x01"}, birth=True)
    network.commit("m1", KEY, {"x": b"\x02"})
    network.destroy("m1", KEY)
    peer = peers.get(NINE)
    assert peer is not None
    marks = [batch.marks for batch in peer.outbox.in_flight.values()]
    first, second, _ = hand.deltas()

    assert marks == [{KEY: first.writer.hlc}, {KEY: second.writer.hlc}, {KEY: HELD_ALL}]


def test_accesses_of_very_many_sessions_leave_in_several_messages() -> None:
    network, hand = member()
    for number in range(ACCESSES_IN_MESSAGE_MAX + 20):
        key = Key("/shop", number.to_bytes(12, "big"))
        network.nodes["m1"].commit(Change(key, dict(LIMITS), birth=True), network.now)
        network.nodes["m1"].requests.announced[key] = Stamp(5 << 16, NINE), network.now
    network.input("m1", lambda node, now: None)
    hand.acknowledge()
    hand.live(0.5)

    sizes = [len(message.accesses) for message in hand.got(Accesses)]
    assert sizes == [ACCESSES_IN_MESSAGE_MAX, 20]
    assert network.nodes["m1"].metrics.accesses_sent == sum(sizes)


def test_a_sleeping_session_is_not_found_but_a_slow_request_wakes_it() -> None:
    network, hand = member()
    network.commit("m1", KEY, {**LIMITS, "x": b"\x01", "y": b"\x02"}, birth=True)
    node = network.nodes["m1"]
    node.store.put_to_sleep(KEY, network.now, 0.0)
    assert read(network) is None

    hand.forget()
    network.commit("m1", KEY, {"x": b"\x03"})
    assert read(network) == {"x": b"\x03", "y": b"\x02"}
    assert [list(delta.attributes) for delta in hand.deltas()] == [["x"]]
    assert node.metrics.sessions_woken == 1


@pytest.mark.parametrize(("later_s", "is_taken"), [(49.9, True), (50.0, False)])
def test_after_its_lifetime_a_session_takes_nothing_but_its_end(
    later_s: float, is_taken: bool
) -> None:
    network, _ = member()
    limits = encoded_limits(SessionLimits(None, 50))
    network.commit("m1", KEY, {INTERVAL: limits}, birth=True)
    node, now = network.nodes["m1"], network.now + later_s

    assert (node.commit(Change(KEY, {"x": b"\x01"}), now) is not None) is is_taken
    ended = node.commit(Change(KEY, {}, destroy=True), now)
    assert ended is not None and ended.destroyed is not None


def test_what_would_fit_into_no_frame_leaves_as_a_record_in_pieces() -> None:
    bounds = {"chunk_bytes": 500, "piece_bytes": 500, "value_bytes_max": 1000}
    network, hand = member(frame_bytes_max=500 + 1000 + ITEM_HEAD_BYTES, **bounds)
    long = {f"n{number}": bytes(1000) for number in range(8)}
    network.commit("m1", KEY, {"x": b"\x01"}, birth=True)
    hand.acknowledge()
    hand.forget()
    network.commit("m1", KEY, dict(long))

    sent = hand.deltas()
    assert all(delta.since is None and delta.piece is not None for delta in sent)
    found = {name: write.value for delta in sent for name, write in delta.attributes.items()}
    assert found == {"x": b"\x01", **long}
    assert network.nodes["m1"].metrics.deltas_too_long == 1


@pytest.mark.parametrize(
    ("hlc", "is_writable"), [(OBSERVED_MAX, True), (HLC_MAX - 2, True), (HLC_MAX - 1, False)]
)
def test_a_write_goes_above_a_stamp_at_the_end_or_ends_its_session(
    hlc: int, is_writable: bool
) -> None:
    network, hand = member()
    network.commit("m1", KEY, {"x": b"\x01"}, birth=True)
    network.commit("m1", some_key(2), {"x": b"\x01"}, birth=True)
    born = next(delta.born for delta in hand.deltas() if delta.key == KEY)
    poison = {"x": Write(hlc, NINE, REGISTER, b"\x66")}
    stamp = Stamp(hlc, NINE)
    hand.send_deltas(Delta(KEY, born, 0, {NINE: hlc}, poison, 0.0, stamp, 0.0))
    node = network.nodes["m1"]
    record = node.commit(Change(KEY, {"x": b"\x02"}), network.now)

    assert record is not None
    assert (record.destroyed is None) is is_writable
    assert node.metrics.sessions_unwritable == (not is_writable)
    if is_writable:
        assert record.attributes["x"] == Write(hlc + 1, some_id(1), REGISTER, b"\x02")
        assert record.version[some_id(1)] == hlc + 1
    other = node.commit(Change(some_key(2), {"x": b"\x02"}), network.now)
    assert other is not None and other.attributes["x"].hlc < OBSERVED_MAX
    assert hand.closed is None


def commit(network: Network, change: Change) -> None:
    """Commit a change on member 1."""
    network.input("m1", lambda node, now: node.commit(change, now))


def test_what_is_counted_goes_into_a_register_of_the_writer() -> None:
    network, hand = member()
    commit(network, Change(KEY, {"x": b"\x01"}, birth=True, increments={"hits": 2}))
    network.run(0.5)
    commit(network, Change(KEY, {}, increments={"hits": 3, "views": 1}))
    first, second = hand.deltas()
    me = network.nodes["m1"].writer

    names = [counter.register_of(me, name) for name in ("hits", "views")]
    assert list(first.attributes) == ["x", names[0]]
    assert list(second.attributes) == names
    assert [write.kind for write in second.attributes.values()] == [COUNTER, COUNTER]
    assert [counter.decoded(w.value or b"") for w in second.attributes.values()] == [
        Count(b"", 5),
        Count(b"", 1),
    ]
    assert read(network) == {"x": b"\x01", "hits": b"\x05", "views": b"\x01"}


def test_flashes_go_into_a_register_of_the_writer_and_too_many_are_counted() -> None:
    network, hand = member(flashes_max=2)
    made = [Flash(bytes([number]) * 8, "info", b"\x01") for number in range(4)]
    commit(network, Change(KEY, {}, birth=True, flashed=tuple(made[:2])))
    network.run(0.5)
    commit(network, Change(KEY, {}, flashed=(made[2],), popped=(made[0].id,)))
    assert network.nodes["m1"].metrics.flashes_dropped == 0
    commit(network, Change(KEY, {}, flashed=(made[3],)))
    record = network.nodes["m1"].store.get(KEY)
    assert record is not None
    assert record.values().flashes == tuple(made[2:])
    assert network.nodes["m1"].metrics.flashes_dropped == 1
    register = flashes.register_of(network.nodes["m1"].writer)
    assert all(list(delta.attributes) == [register] for delta in hand.deltas())


def test_the_first_access_here_is_told_however_fresh_the_session_looks() -> None:
    # It may have been held back on its way, so that what others know is older.
    network, hand = member()
    born = Stamp(5 << 16, NINE)
    writes = {name: Write(*born, REGISTER, value) for name, value in LIMITS.items()}
    hand.send_deltas(Delta(KEY, born, 0, {NINE: born.hlc}, writes, 0.0, born, 0.0))
    for _ in range(4):
        hand.live(0.5)
        read(network)
    hand.live(1.5)

    ((access,),) = [message.accesses for message in hand.got(Accesses)]
    assert access.access.member == some_id(1)
