"""Items: deltas, tombstones and whole records as bytes and back."""

from __future__ import annotations

from typing import Any

import cbor2
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from replsession.errors import WireError
from replsession.session.delta import Delta, Piece, Write
from replsession.session.stamp import HLC_MAX, Stamp
from replsession.wire.encoding import decode_item, encode_item
from replsession.wire.items import (
    DELTA,
    JOINED,
    RECORD,
    TOMBSTONE,
    array_head,
    delta_of,
    loaded,
    milliseconds,
    stream_item,
)
from tests.strategies import KEY, MEMBERS, commits, deltas

A, B, _ = MEMBERS
STREAM: list[Any] = [DELTA, *KEY, 5, A, 0, 9, B, 1500, ["x", 0, b"\x01", "y", 0, None]]
SEVERAL: list[Any] = [JOINED, *KEY, 5, A, 0, 9, B, 1500, ["x", 7, 0, b"\x01", "y", 9, 0, None]]
END: list[Any] = [TOMBSTONE, *KEY, 5, A, 9, B, 1500]
CONTENT: list[Any] = [5, A, 9, B, None, None, True, [A, 5, B, 9], ["x", 9, B, 0, b"\x01"]]
WHOLE: list[Any] = [RECORD, *KEY, 1500, 250, None, 0, 0, 1, cbor2.dumps(CONTENT)]


def shortened(value: object) -> str:
    """Return a name for a test's parameter."""
    return repr(value)[:40]


def with_content(**changed: Any) -> list[Any]:
    """A whole record with other content; the names are those of the table."""
    at = [
        "born",
        "bearer",
        "access",
        "reader",
        "ended",
        "ender",
        "complete",
        "version",
        "attributes",
    ]
    content = [changed.get(name, value) for name, value in zip(at, CONTENT, strict=True)]
    return [*WHOLE[:-1], cbor2.dumps(content)]


@given(deltas)
def test_an_item_comes_back_as_it_was(delta: Delta) -> None:
    encoded = encode_item(delta)

    assert decode_item(encoded) == delta
    assert encode_item(decode_item(encoded)) == encoded


@given(commits())
def test_a_commit_is_written_straight_as_the_same_bytes(delta: Delta) -> None:
    assert delta.since is not None
    encoded = stream_item(
        delta.key, delta.born, delta.since, delta.writer, delta.age_s, delta.attributes
    )

    assert encoded == encode_item(delta)


def test_the_four_forms_are_as_the_table_says() -> None:
    written = {"x": Write(9, B, 0, b"\x01"), "y": Write(9, B, 0, None)}
    access = Stamp(9, B)

    assert delta_of(STREAM) == Delta(KEY, Stamp(5, A), 0, {B: 9}, written, 1.5, access, 0.0)
    assert delta_of(SEVERAL) == delta_of(STREAM)._replace(
        attributes={"x": Write(7, B, 0, b"\x01"), "y": Write(9, B, 0, None)}
    )
    assert delta_of(END) == Delta(
        KEY, Stamp(5, A), None, {}, {}, 0.0, access, 0.0, destroyed=access, destroyed_age_s=1.5
    )
    assert delta_of(WHOLE) == Delta(
        KEY, Stamp(5, A), None, {A: 5, B: 9}, {"x": written["x"]}, 1.5, access, 0.25, True
    )


def test_a_piece_says_which_one_it_is() -> None:
    assert delta_of([*WHOLE[:6], 77, 2, 3, WHOLE[9]]).piece == Piece(77, 2, 3)
    assert delta_of([*WHOLE[:6], 77, 0, 1, WHOLE[9]]).piece is None


def test_a_record_says_for_how_long_it_has_been_asleep() -> None:
    assert delta_of(WHOLE).asleep_s is None
    assert delta_of([*WHOLE[:5], 12_345, *WHOLE[6:]]).asleep_s == 12.345
    assert delta_of([*WHOLE[:5], 0, *WHOLE[6:]]).asleep_s == 0.0


def test_values_are_bytes_that_nobody_looks_into() -> None:
    value = b"\xff not CBOR at all"
    delta = delta_of([*STREAM[:-1], ["x", 0, value]])

    assert delta.attributes["x"].value == value
    assert decode_item(encode_item(delta)) == delta


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        [4, *END[1:]],
        ["0", *STREAM[1:]],
        STREAM[:-1],
        [*STREAM, 0],
        END[:-1],
        [*END, 0],
        WHOLE[:-1],
        [*WHOLE, 0],
        [DELTA, "x" * 257, *STREAM[2:]],
        [DELTA, "/", bytes(11), *STREAM[3:]],
        [*STREAM[:6], HLC_MAX, *STREAM[7:]],
        [*STREAM[:6], -1, *STREAM[7:]],
        [*STREAM[:7], b"short", *STREAM[8:]],
        [*STREAM[:8], 1.5, STREAM[9]],
        [*STREAM[:8], -1, STREAM[9]],
        [*STREAM[:9], ["x", 0]],
        [*STREAM[:9], ["x", 256, b""]],
        [*STREAM[:9], ["x", -1, b""]],
        [*STREAM[:9], ["x", 0, "text"]],
        [*STREAM[:9], ["x" * 1025, 0, b""]],
        [*STREAM[:9], [b"x", 0, b""]],
        [*STREAM[:9], {"x": 0}],
        [*SEVERAL[:9], STREAM[9]],
        [*STREAM[:9], SEVERAL[9]],
        [*SEVERAL[:9], ["x", HLC_MAX, 0, b""]],
        [*SEVERAL[:9], ["x", -1, 0, b""]],
        [*END[:5], None, *END[6:]],
        [*END[:7], -1],
        [*WHOLE[:6], 0, 0, 0, WHOLE[9]],
        [*WHOLE[:6], 0, 3, 3, WHOLE[9]],
        [*WHOLE[:5], -1, *WHOLE[6:]],
        [*WHOLE[:5], True, *WHOLE[6:]],
        [*WHOLE[:9], "text"],
        [*WHOLE[:9], b""],
        [*WHOLE[:9], WHOLE[9] + b"\x00"],
        with_content(ended=9, ender=B),
        with_content(ender=B),
        with_content(complete=1),
        with_content(version=[A]),
        with_content(version=[A, HLC_MAX]),
        with_content(attributes=["x", 9, B, 0]),
        with_content(attributes=["x", HLC_MAX, B, 0, b""]),
        with_content(attributes=["x", 9, B, 256, b""]),
        with_content(attributes=["x", 9, B, 0, 1]),
        with_content(born=-1),
        with_content(bearer=b""),
    ],
    ids=shortened,
)
def test_what_is_not_as_the_table_says_is_refused(value: Any) -> None:
    with pytest.raises(WireError):
        delta_of(value)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not CBOR"),
        (b"\xff", "not CBOR"),
        (b"\x82\x01", "not CBOR"),
        (b"\x80\x00", "follow"),
        (b"\x80" * 2, "follow"),
        (b"\x01", "an array was expected"),
        (b"\xa0", "an array was expected"),
        (b"\x9f\xff", "not CBOR"),
        (b"\x81\x5f\xff", "not CBOR"),
        (b"\x81" * 9 + b"\x80", "not CBOR"),
        (b"\x81" * 100_000, "not CBOR"),
        (b"\x9b" + b"\xff" * 8, "not CBOR"),
        (b"\x81\x5b" + b"\xff" * 8, "not CBOR"),
        (b"\x81\x62\xc3\x28", "not CBOR"),
        (b"\x81\x63\xed\xa0\x80", "not CBOR"),
        (b"\x81\xa2\x01\x01\x01\x02", "not CBOR"),
    ],
    ids=shortened,
)
def test_only_one_array_is_an_item(data: bytes, reason: str) -> None:
    with pytest.raises(WireError, match=reason):
        loaded(data)


@pytest.mark.parametrize(
    "tag", [0, 1, 2, 3, 4, 5, 28, 29, 30, 35, 36, 37, 100, 258, 260, 1000, 55799]
)
@pytest.mark.parametrize("content", [b"\x00", b"\x41\x05", b"\x61\x35", b"\x80", b"\x82\x01\x02"])
def test_a_tag_is_refused_before_anything_is_made_of_it(tag: int, content: bytes) -> None:
    tagged = cbor2.dumps(tag)
    head = bytes([0xC0 | tagged[0]]) + tagged[1:]

    with pytest.raises(WireError):
        loaded(b"\x81" + head + content)


@given(st.binary(max_size=200))
def test_any_bytes_are_an_item_or_a_wire_error(data: bytes) -> None:
    for read in (loaded, decode_item):
        try:
            read(data)
        except WireError as error:
            assert str(error)


@pytest.mark.parametrize("length", [0, 1, 23, 24, 255, 256, 65_535, 65_536, 100_000])
def test_the_head_of_an_array_is_that_of_cbor(length: int) -> None:
    assert array_head(length) + b"\xf6" * length == cbor2.dumps([None] * length)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.0, 0),
        (-0.001, 0),
        (-5.0, 0),
        (1.001, 1001),
        (0.29, 290),
        (3600.0, 3_600_000),
        (1e300, 2**53 - 1),
    ],
)
def test_an_age_is_whole_milliseconds(seconds: float, expected: int) -> None:
    assert milliseconds(seconds) == expected


@pytest.mark.parametrize("age_ms", [2**53 - 1, 2**53, 2**63, 2**64 - 1])
@pytest.mark.parametrize("value", [[*STREAM[:8], 0, STREAM[9]], END, WHOLE], ids=["0", "1", "2"])
def test_however_old_it_claims_to_be_it_can_be_sent_on(value: list[Any], age_ms: int) -> None:
    at = {DELTA: 8, TOMBSTONE: 7, RECORD: 3}[value[0]]
    delta = delta_of([*value[:at], age_ms, *value[at + 1 :]])
    older = delta._replace(age_s=delta.age_s * 2, destroyed_age_s=delta.destroyed_age_s * 2)

    assert decode_item(encode_item(older)).attributes == delta.attributes


@given(st.integers(0, 2**40))
@example(1001)
def test_an_age_that_travels_on_stays_what_it_is(age_ms: int) -> None:
    assert milliseconds(age_ms / 1000) == age_ms
