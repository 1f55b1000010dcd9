"""Packing: a record as bytes and back, and what can be read without unpacking."""

from __future__ import annotations

import math

import cbor2
from hypothesis import given
from hypothesis import strategies as st

from replsession.session.packing import (
    HEAD_BYTES,
    content_of,
    counted_in,
    flattened,
    grouped,
    is_asleep_in,
    is_ended_in,
    look_at_in,
    pack,
    paired,
    unpack,
)
from replsession.session.record import Record
from tests.strategies import attributes, records, versions

look_ats = st.floats(0, 1e12) | st.just(math.inf)


def everything(record: Record) -> dict[str, object]:
    """Return all that a record holds, by name."""
    return {name: getattr(record, name) for name in Record.__slots__}


@given(records(), look_ats)
def test_a_packed_record_comes_back_as_it_was(record: Record, look_at: float) -> None:
    packed = pack(record, look_at)

    assert everything(unpack(record.key, packed)) == everything(record)
    assert pack(unpack(record.key, packed), look_at) == packed


@given(records(), look_ats)
def test_a_sweep_reads_what_it_needs_without_unpacking(record: Record, look_at: float) -> None:
    packed = pack(record, look_at)

    assert counted_in(packed) == record.counted
    assert is_asleep_in(packed) == record.asleep
    assert is_ended_in(packed) == (record.destroyed is not None)
    assert look_at_in(packed) == look_at


@given(records())
def test_the_types_come_back_too(record: Record) -> None:
    again = unpack(record.key, pack(record, 0.0))

    assert type(again.born) is type(again.access) is type(record.born)
    assert again.destroyed is None or type(again.destroyed) is type(record.born)
    assert (type(again.asleep), type(again.complete)) == (bool, bool)
    for write in again.attributes.values():
        assert write.hlc == write[0] and write.value == write[3]


@given(records())
def test_equal_records_have_equal_content(record: Record) -> None:
    twin = unpack(record.key, pack(record, 0.0))
    twin.attributes = dict(reversed(record.attributes.items()))
    twin.version = dict(reversed(record.version.items()))

    assert content_of(twin) == content_of(record)


@given(records(), st.floats(0, 1e9))
def test_local_times_stand_outside_the_content(record: Record, time: float) -> None:
    content = content_of(record)
    record.created = record.accessed = record.access_sent = record.ended_at = time
    record.asleep = not record.asleep

    assert content_of(record) == content
    assert pack(record, 0.0)[HEAD_BYTES:] == content


@given(records())
def test_the_content_is_one_canonical_item(record: Record) -> None:
    content = content_of(record)

    assert cbor2.dumps(cbor2.loads(content), canonical=True) == content


@given(versions, attributes)
def test_flat_lists_become_dicts_again(
    version: dict[bytes, int], written: dict[str, object]
) -> None:
    flat = [part for pair in version.items() for part in pair]

    assert paired(flat) == version
    assert grouped(flattened(written)) == written  # type: ignore[arg-type]
