"""What repair costs between two members, counted on the wire; and that all is equal afterwards."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

import pytest

from replsession.config import KIB, Limits
from replsession.identity import Key, MemberId
from replsession.messages import (
    Deltas,
    LeafDigests,
    Message,
    RecordDigests,
    RepairAnswer,
    RepairOffer,
    RepairRecords,
    RepairRequest,
)
from replsession.session.delta import REGISTER, Write
from replsession.session.packing import pack
from replsession.session.record import SECRET, Record
from replsession.session.stamp import Stamp
from replsession.wire.encoding import encode
from tests.harness import Network, some_id

ASKS = (RepairOffer, LeafDigests, RepairRequest)
ANSWERS = (RepairAnswer, RecordDigests, RepairRecords)
BIRTH_HLC = 5 << 16


def record_of(key: Key, member: MemberId, now: float, hlc: int = BIRTH_HLC) -> Record:
    """A session with its secret and three attributes of some 60 bytes."""
    stamp = Stamp(hlc, member)
    record = Record(key, Stamp(BIRTH_HLC, some_id(3)), now, stamp, now)
    record.complete = True
    record.version = {member: hlc}
    values = {SECRET: bytes(16), **{name: b"\x78\x3c" + bytes(60) for name in ("a", "b", "c")}}
    record.attributes = {name: Write(*stamp, REGISTER, value) for name, value in values.items()}
    return record


def some_keys(count: int) -> list[Key]:
    """Return the keys of so many sessions; they are spread at random, as locators are."""
    rng = Random(count)
    return [Key("/shop", rng.randbytes(12)) for _ in range(count)]


def pair(**bounds: int) -> Network:
    """Two members that are ready, and whose first rounds are over."""
    network = Network()
    for number in (1, 2):
        network.add(number, limits=Limits(**bounds))
    network.run(2.0)
    assert all(node.is_ready for node in network.nodes.values())
    return network


def give(network: Network, name: str, records: Iterable[Record]) -> None:
    """Put records into a member's store, as if they had come long ago."""
    store = network.nodes[name].store
    for record in records:
        store.add(record)
    store.digests(network.now)


def give_both(network: Network, keys: Iterable[Key]) -> None:
    """Put the same sessions into both stores, packed once for both."""
    one, other = (network.nodes[name].store for name in ("m1", "m2"))
    for key in keys:
        record = record_of(key, some_id(3), network.now)
        record.counted = record.digest()
        packed = pack(record, float("inf"))
        for store in (one, other):
            store._buckets[key.locator[0]][key] = packed
            store._digests[key.locator[0]] ^= record.counted
            store.sizes[key.context] = store.sizes.get(key.context, 0) + 1


def are_equal(network: Network) -> bool:
    """Tell whether both members hold the same."""
    one, other = network.nodes.values()
    return one.store.digests(network.now) == other.store.digests(network.now)


def forget_sent(network: Network) -> None:
    """Begin new lists of what was sent."""
    for sent in network.sent.values():
        sent.clear()


def rounds(network: Network, name: str) -> int:
    """Return how many rounds of a member are over."""
    return network.nodes[name].metrics.repair_rounds


def until_a_round_is_over(network: Network, name: str) -> None:
    """Let time pass until the next round of this member is over."""
    before = rounds(network, name)
    while rounds(network, name) == before:
        network.run(0.25)


def sent_by(network: Network, name: str, kinds: tuple[type[object], ...]) -> list[Message]:
    """Return what a member sent of these kinds."""
    return [message for message in network.sent[name] if isinstance(message, kinds)]


def test_ten_sessions_of_a_hundred_thousand_cost_little_and_three_round_trips(
    capsys: pytest.CaptureFixture[str],
) -> None:
    network = pair()
    keys = some_keys(100_000)
    give_both(network, keys[:99_990])
    now = network.now
    give(network, "m1", [record_of(key, some_id(3), now) for key in keys[99_990:99_997]])
    give(network, "m2", [record_of(key, some_id(3), now) for key in keys[99_994:]])
    for key, number in zip(keys[99_994:99_997], (1, 1, 2), strict=True):
        record = network.nodes[f"m{number}"].store.get(key)
        assert record is not None
        record.write({"a": Write(9 << 16, some_id(number), REGISTER, b"\x01")}, {})
        network.nodes[f"m{number}"].store.changed(key)
    assert not are_equal(network)
    forget_sent(network)
    network.nodes["m2"].repairer.rounds.next_at = now + 1000
    until_a_round_is_over(network, "m1")

    assert are_equal(network)
    assert all(len(node.store) == 100_000 for node in network.nodes.values())
    octets = sum(len(encode(message)) for sent in network.sent.values() for message in sent)
    with capsys.disabled():
        print(f"\n10 of 100 000 sessions: {octets} bytes on the wire")
    assert octets < 64 * KIB
    asks, answers = sent_by(network, "m1", ASKS), sent_by(network, "m2", ANSWERS)
    assert [type(message) for message in asks] == list(ASKS)
    assert [type(message) for message in answers] == list(ANSWERS)
    assert not network.frames_of("m1", Deltas) + network.frames_of("m2", Deltas)


def test_ten_thousand_of_twenty_thousand_are_equal_after_one_round() -> None:
    network = pair()
    keys = some_keys(20_000)
    give_both(network, keys[:10_000])
    now = network.now
    give(network, "m1", [record_of(key, some_id(1), now) for key in keys[10_000:17_500]])
    give(network, "m2", [record_of(key, some_id(2), now, 9 << 16) for key in keys[12_500:]])
    forget_sent(network)
    until_a_round_is_over(network, "m1")

    assert are_equal(network)
    assert all(len(node.store) == 20_000 for node in network.nodes.values())
    assert not network.frames_of("m1", Deltas) + network.frames_of("m2", Deltas)
    record = network.nodes["m1"].store.get(keys[15_000])
    assert record is not None
    assert record.version == {some_id(1): BIRTH_HLC, some_id(2): 9 << 16}


@pytest.mark.parametrize("repair_records_max", [1, 50, 8000])
@pytest.mark.parametrize("repair_digests_max", [1, 7, 2000])
@pytest.mark.parametrize("chunk_bytes", [1, 2000])
def test_the_bounds_hold_and_one_message_each_way_is_under_way(
    repair_records_max: int, repair_digests_max: int, chunk_bytes: int
) -> None:
    network = pair(
        repair_records_max=repair_records_max,
        repair_digests_max=repair_digests_max,
        chunk_bytes=chunk_bytes,
    )
    keys = some_keys(120)
    keys += [key._replace(context=context) for key in keys[:5] for context in ("/a", "/b", "/c")]
    now = network.now
    give(network, "m1", [record_of(key, some_id(1), now) for key in keys if key.locator[2] % 3])
    give(network, "m2", [record_of(key, some_id(2), now) for key in keys if key.locator[2] % 2])
    sizes = [network.nodes["m1"].store.size(bucket) for bucket in range(256)]
    forget_sent(network)
    network.nodes["m2"].repairer.rounds.next_at = now + 1000
    until_a_round_is_over(network, "m1")

    assert are_equal(network)
    asks, answers = sent_by(network, "m1", ASKS), sent_by(network, "m2", ANSWERS)
    assert len(asks) == len(answers)
    for message in (*asks, *answers):
        match message:
            case LeafDigests():
                together = sum(sizes[bucket] for bucket in message.leaves)
                assert together <= repair_records_max or len(message.leaves) == 1
            case RecordDigests():
                assert len(message.digests) <= repair_digests_max or len(message.leaves) == 1
            case RepairRequest() | RepairRecords():
                assert len(message.records) == 1 or chunk_bytes > 1 or not message.records
                assert len(encode(message)) < chunk_bytes + 400 + 20 * len(keys)


def test_both_repair_each_other_at_the_same_time() -> None:
    network = pair(chunk_bytes=1000, piece_bytes=60, repair_digests_max=5)
    keys = some_keys(200)
    now = network.now
    give(network, "m1", [record_of(key, some_id(1), now) for key in keys[:120]])
    give(network, "m2", [record_of(key, some_id(2), now, 9 << 16) for key in keys[80:]])
    before = {name: rounds(network, name) for name in network.nodes}

    def begin_both() -> None:
        for node in network.nodes.values():
            node.repairer.want_all()
            node.timer_fired(network.now)
        for name in network.nodes:
            network._carry_out(name)

    begin_both()
    network.settle()

    assert {name: rounds(network, name) - 1 for name in network.nodes} == before
    assert are_equal(network)
    for node in network.nodes.values():
        for key in keys:
            record = node.store.get(key)
            assert record is not None and record.complete
            expected = {some_id(1): BIRTH_HLC} if key in keys[:120] else {}
            expected |= {some_id(2): 9 << 16} if key in keys[80:] else {}
            assert record.version == expected


def test_two_members_that_differ_agree_after_a_round() -> None:
    network = pair()
    for name, session in (("m1", 1), ("m1", 2), ("m2", 3)):
        network.hold(name)
        key = Key("/shop", bytes([session]) * 12)
        network.commit(name, key, {"x": bytes([session])}, birth=True)
        network.drop_held(name)
    assert not are_equal(network)
    network.run(6.0)

    for name in ("m1", "m2"):
        for session in (1, 2, 3):
            assert network.values(name, Key("/shop", bytes([session]) * 12)) == {
                "x": bytes([session])
            }


def test_equal_members_pay_for_their_bucket_digests_only() -> None:
    network = pair()
    give_both(network, some_keys(1000))
    forget_sent(network)
    until_a_round_is_over(network, "m1")

    (offer,) = network.frames_of("m1", RepairOffer)
    assert len(encode(offer)) < 2100
    assert network.frames_of("m2", RepairAnswer) == [RepairAnswer(offer.round, ())]
    assert network.frames_of("m1", LeafDigests) == []
