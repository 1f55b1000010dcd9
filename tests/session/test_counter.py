"""Counters: what a writer must write, and what the registers of all writers add up to."""

from __future__ import annotations

from random import Random

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from replsession.session.codec import decode, encode
from replsession.session.counter import (
    PREFIX,
    VALUE_BYTES_MAX,
    Count,
    counted,
    decoded,
    encoded,
    register_of,
    shown,
    sum_of,
    within_64_bits,
)
from replsession.session.delta import COUNTER, REGISTER, Write
from replsession.session.format import INT_MAX, INT_MIN
from replsession.session.record import RESERVED_PREFIX
from replsession.session.stamp import HLC_MAX
from tests.strategies import MEMBERS

A, B, C = MEMBERS
Attributes = dict[str, Write]


def epoch(hlc: int, member: bytes = A) -> bytes:
    """What was counted on."""
    return hlc.to_bytes(8, "big") + member


def base(hlc: int, value: object, member: bytes = A) -> Attributes:
    """What was assigned, or removed if it is an ellipsis."""
    data = None if value is ... else encode("hits", value)
    return {"hits": Write(hlc, member, REGISTER, data)}


def count(
    attributes: Attributes, hlc: int, writer: bytes, amount: int, name: str = "hits"
) -> Attributes:
    """Let a writer count, and return what there is then."""
    register, value = counted(attributes, writer, name, amount)
    return {**attributes, register: Write(hlc, writer, COUNTER, value)}


def number(attributes: Attributes, name: str = "hits") -> int | None:
    """What is shown of a counter."""
    found = shown(attributes)
    return None if name not in found else decode(found[name])


def test_the_register_is_as_it_is_written_down() -> None:
    register, value = counted(base(7, 40), B, "hits", 2)
    assert register == "\0+0202020202020202hits"
    assert register.startswith(PREFIX) and PREFIX.startswith(RESERVED_PREFIX)
    assert cbor2.loads(value) == [b"\0\0\0\0\0\0\0\x07" + A, 2, 40]
    assert counted({}, B, "hits", -1) == (register, cbor2.dumps([b"", -1, None]))


def test_what_one_writer_counts_on_one_base_is_one_total() -> None:
    attributes = count(count(base(7, 40), 8, B, 2), 9, B, 3)
    assert len(attributes) == 2
    assert decoded(attributes[register_of(B, "hits")].value or b"") == Count(epoch(7), 5, 40)
    assert number(attributes) == 45


def test_without_a_base_it_begins_at_zero() -> None:
    assert shown({}) == {}
    assert shown(base(7, 40)) == {}, "nothing was counted: the attribute stands for itself"
    assert number(count(count({}, 1, A, 2), 2, B, -5)) == -3
    assert number(count(count({}, 1, A, 2), 2, B, -2)) == 0


@pytest.mark.parametrize(
    ("held", "expected"),
    [
        (base(7, 40), 42),
        (base(7, -40), -38),
        (base(7, 300), 302),
        (base(7, ...), 2),
        (base(7, "40"), None),
        (base(7, None), None),
        (base(7, True), None),
        (base(7, 1.5), None),
        (base(7, [40]), None),
        ({"hits": Write(7, A, REGISTER, b"")}, None),
        ({"hits": Write(7, A, REGISTER, b"\x19\x01")}, None),
    ],
)
def test_what_is_counted_is_added_to_an_int_or_to_nothing(
    held: Attributes, expected: int | None
) -> None:
    assert number(count(held, 8, B, 2)) == expected


def test_another_base_begins_anew() -> None:
    before = count(count(base(7, 40), 8, A, 2), 8, B, 3)
    after = {**before, **base(9, 100)}
    assert number(after) is None, "nothing was counted on it: the attribute stands for itself"
    assert number(count(after, 10, B, 1)) == 101
    assert number(count({**before, **base(9, ...)}, 10, B, 1)) == 1
    # Of two members with the same clock value only one is meant.
    assert number({**before, **base(7, 40, B)}) is None


@pytest.mark.parametrize(("held", "expected"), [(100, 101), (-7, -6), (..., 1), ("100", 1)])
def test_a_count_is_also_the_news_of_its_base(held: object, expected: int) -> None:
    before = count(count(base(7, 40), 8, B, 2), 8, C, 3)
    register, value = counted({**before, **base(9, held)}, B, "hits", 1)
    early = {**before, register: Write(10, B, COUNTER, value)}
    # C's is gone with what it was counted on; so would B's be, had it not taken its base along.
    assert number(early) == expected
    assert number(count(early, 11, C, 10)) == expected + 10
    # The base itself, if it comes, and one that is newer.
    late = {**early, **base(9, held)}
    assert number(late) == (None if held == "100" else expected)
    assert number({**early, **base(11, 7)}) is None
    assert number({**early, **base(8, 7)}) == expected


def test_nothing_is_counted_on_what_is_still_to_come() -> None:
    value = encoded(Count(epoch(11), 5, 70))
    attributes = count(base(7, 40), 8, B, 2)
    attributes[register_of(C, "hits")] = Write(10, C, COUNTER, value)
    assert number(attributes) == 42
    attributes[register_of(C, "hits")] = Write(11, C, COUNTER, value)
    assert number(attributes) == 75


def test_counters_do_not_meet() -> None:
    attributes = count(count({}, 1, A, 1, "hits"), 1, A, 2, "hit")
    attributes = count(count(attributes, 2, A, 4, "s"), 2, A, 8, "")
    assert [number(attributes, name) for name in ("hits", "hit", "s", "")] == [1, 2, 4, 8]


@pytest.mark.parametrize("end", [INT_MAX, INT_MIN])
def test_what_is_shown_stays_within_64_bits(end: int) -> None:
    step = 1 if end > 0 else -1
    attributes = count(count(base(7, end), 8, A, step), 8, B, step)
    assert number(attributes) == end
    assert number(count(count({}, 8, A, end), 9, A, step)) == end
    assert number(count(count({}, 8, A, end), 9, B, end)) == end


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\xff",
        cbor2.dumps(1),
        cbor2.dumps([]),
        cbor2.dumps([b"m"]),
        cbor2.dumps([b"m", 1]),
        cbor2.dumps(["m", 1, 1]),
        cbor2.dumps([b"m", 1.0, 1]),
        cbor2.dumps([b"m", True, 1]),
        cbor2.dumps([b"m", 2**70, 1]),
        cbor2.dumps([b"m", 1, True]),
        cbor2.dumps([b"m", 1, 1.0]),
        cbor2.dumps([b"m", 1, 2**70]),
        cbor2.dumps([b"m", 1, 1, 1]),
        cbor2.dumps(cbor2.CBORTag(4711, [b"m", 1, 1])),
        cbor2.dumps([b"m" * 40, 1, 1]),
    ],
)
def test_a_register_that_cannot_be_read_counts_nothing_and_hurts_nobody(value: bytes) -> None:
    attributes = count(base(7, 40), 8, B, 2)
    attributes[register_of(C, "hits")] = Write(9, C, COUNTER, value)
    attributes["\0+"] = attributes["\0+zz"] = Write(9, C, COUNTER, value)
    assert decoded(value) is None
    assert number(attributes) == 42
    assert number(count(attributes, 10, C, 1)) == 43


@given(
    st.integers(0, HLC_MAX),
    st.integers(INT_MIN, INT_MAX),
    st.none() | st.integers(INT_MIN, INT_MAX),
)
def test_a_count_comes_back_as_it_was(hlc: int, total: int, counted_on: int | None) -> None:
    made = Count(epoch(hlc), total, counted_on)
    assert len(encoded(made)) <= VALUE_BYTES_MAX
    assert decoded(encoded(made)) == made
    assert number(count(base(hlc, 1), HLC_MAX, B, 2)) == 3


@given(st.lists(st.tuples(st.sampled_from(MEMBERS), st.integers(-100, 100)), max_size=20))
def test_all_add_up_in_whatever_order_they_come(counts: list[tuple[bytes, int]]) -> None:
    attributes = base(7, 40)
    for hlc, (writer, amount) in enumerate(counts, start=8):
        attributes = count(attributes, hlc, writer, amount)
    names = list(attributes)
    Random(len(counts)).shuffle(names)
    total = 40 + sum(amount for _, amount in counts)
    assert number({name: attributes[name] for name in names}) == (total if counts else None)


def test_a_sum_of_bytes() -> None:
    assert sum_of(None, 3) == encode("", 3)
    assert sum_of(encode("", 4), 3) == encode("", 7)
    assert sum_of(encode("", "4"), 3) is None
    assert [within_64_bits(n) for n in (INT_MAX + 1, INT_MIN - 1, 5)] == [INT_MAX, INT_MIN, 5]
