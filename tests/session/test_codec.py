"""The bytes of a value: the laws of the codec, and what it refuses to read (D07, D11 to D19)."""

from __future__ import annotations

import math
import struct
from typing import Any

import cbor2
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from replsession.config import Limits
from replsession.errors import SessionTooLarge, UnserializableAttribute, WireError
from replsession.session.codec import decode, encode

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(),
    TEXTS,
    st.binary(max_size=300),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=6)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=6)
    ),
    max_leaves=30,
)
POWERS = [sign * 2**bits for bits in (0, 5, 8, 16, 32, 62) for sign in (1, -1)]
EDGES: list[Any] = [
    *(number + step for number in POWERS for step in (-1, 0, 1)),
    *(23, 24, 255, 256, -24, -25, -256, -257, 2**63 - 1, -(2**63)),
    *(0.0, -0.0, 1.5, 5e-324, 1.7976931348623157e308, math.inf, -math.inf, math.nan),
    *("x" * size for size in (0, 1, 23, 24, 255, 256, 65535, 65536)),
    *("é" * size for size in (1, 11, 12, 127, 128)),
    *(b"x" * size for size in (0, 1, 23, 24, 255, 256, 65535, 65536)),
    *(None, True, False, [], {}, [None] * 24, {"": {"": []}}),
]


def same(left: Any, right: Any) -> bool:
    """Equal in value, types and order of dicts; nan is nan, and -0.0 is not 0.0."""
    if type(left) is not type(right):
        return False
    if isinstance(left, float):
        return math.isnan(left) == math.isnan(right) and repr(left) == repr(right)
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict):
        return same(list(left), list(right)) and same(list(left.values()), list(right.values()))
    return bool(left == right)


def laws(value: Any) -> None:
    data = encode("x", value)
    back = decode(data)
    assert same(value, back)
    assert encode("x", back) == data
    assert data == cbor2.dumps(value)


@pytest.mark.parametrize("value", EDGES, ids=lambda value: repr(value)[:20])
def test_a_value_comes_back_equal_and_gives_the_same_bytes_at_the_edges(value: Any) -> None:
    laws(value)
    laws([value])
    laws({"k": value})


@given(VALUES)
@settings(max_examples=300, deadline=None)
@example({"b": 1, "a": 2})
@example([{"k": []}] * 3)
def test_a_value_comes_back_equal_and_gives_the_same_bytes(value: Any) -> None:
    laws(value)


@pytest.mark.parametrize("bits", ["7ff8000000000000", "fff8000000000001", "7ff0000000000001"])
def test_every_nan_is_one_nan(bits: str) -> None:
    value = struct.unpack(">d", bytes.fromhex(bits))[0]
    assert encode("x", value) == bytes.fromhex("f97e00")
    assert math.isnan(decode(b"\xfb" + bytes.fromhex(bits)))


def test_values_of_equal_hash_keep_their_type() -> None:
    values = [1, True, 1.0, 0, False, 0.0, -0.0]
    assert len({encode("x", value) for value in values}) == len(values)


def test_a_decoded_container_is_new_each_time() -> None:
    data = encode("x", [[]])
    decode(data)[0].append(1)
    assert decode(data) == [[]]
    decode(encode("x", [])).append(1)
    assert decode(encode("x", [])) == []


@pytest.mark.parametrize("value", ["x", "x" * 300, b"x", 30, 300, 2.5, [1], {"": 1}])
def test_D07_one_byte_more_than_the_bound_is_refused(value: Any) -> None:
    size = len(encode("x", value))
    assert len(encode("x", value, Limits(value_bytes_max=size))) == size
    with pytest.raises(SessionTooLarge, match=f"at most {size - 1} are allowed"):
        encode("x", value, Limits(value_bytes_max=size - 1))


def test_D07_the_default_bound_is_256_kib() -> None:
    assert len(encode("x", "x" * (256 * 1024 - 5))) == 256 * 1024
    with pytest.raises(SessionTooLarge, match="attribute 'x' has 262145 bytes; at most 262144"):
        encode("x", "x" * (256 * 1024 - 4))


@pytest.mark.parametrize("value", [{1: 2}, (1,), object(), 2**63, "\ud800", ["é\ud800"]])
def test_what_may_not_be_stored_is_not_encoded(value: Any) -> None:
    with pytest.raises(UnserializableAttribute):
        encode("x", value)


TAGS = [
    *range(60),
    *(100, 256, 257, 258, 259, 260, 261, 262, 1004, 43000, 55799, 999, 2**32, 2**64 - 1),
]

REFUSED: list[tuple[str, str]] = [
    ("D11 2**62 items", "9b4000000000000000"),
    ("D11 text of 2**40 bytes", "7b0000010000000000" + "61" * 10),
    ("D11 bytes of 1 GiB", "5a40000000" + "61" * 10),
    ("D11 map of 2**62 entries", "bb4000000000000000"),
    ("D12 33 arrays", "81" * 32 + "80"),
    ("D12 33 maps", "a16161" * 32 + "a0"),
    ("D12 400 arrays", "81" * 400 + "80"),
    ("D12 100 000 arrays", "81" * 100_000 + "80"),
    ("D12 100 000 maps", "a16161" * 100_000 + "a0"),
    ("D12 100 000 tags", "c0" * 100_000 + "00"),
    ("D13 array", "9fff"),
    ("D13 map", "bfff"),
    ("D13 chunked bytes", "5f" + "40" * 100_000 + "ff"),
    ("D13 chunked text", "7f6161ff"),
    ("D13 inside", "819fff"),
    ("D14 duplicate keys", "a2616101616102"),
    ("D14 duplicate keys inside", "81a2616101616102"),
    ("D15 bignum", "c2490100000000000000aa"),
    ("D16 laughs", "82d81c828080d81d00"),
    ("D17 10 001 items", "9a00002711" + "80" * 10_001),
    ("D18 int key", "a10102"),
    ("D18 bytes key", "a1416b01"),
    ("D18 bytes key inside", "81a1416b01"),
    ("D18 None key", "a1f601"),
    ("D18 array key", "a18001"),
    ("D18 map key", "a1a001"),
    ("D18 float key", "a1fb3ff800000000000001"),
    ("D19 undefined", "f7"),
    ("D19 undefined inside", "81f7"),
    ("D19 simple 0", "e0"),
    ("D19 simple 99", "f863"),
    ("D19 simple 99 inside", "a16161f863"),
    ("D19 false in two bytes", "f814"),
    ("D19 empty", ""),
    ("D19 break", "ff"),
    ("D19 reserved head", "1c"),
    ("D19 trailing after int", "0000"),
    ("D19 trailing after text", "616161"),
    ("D19 trailing after bytes", "416161"),
    ("D19 trailing after null", "f6f6"),
    ("D19 trailing after float", "fb3ff800000000000000"),
    ("D19 trailing after array", "8000"),
    ("D19 trailing after map", "a0a0"),
    ("D19 cut int", "1900"),
    ("D19 cut float", "fb3ff8"),
    ("D19 cut text", "6261"),
    ("D19 cut text length", "79ff"),
    ("D19 cut array", "8201"),
    ("D19 invalid UTF-8", "61ff"),
    ("D19 invalid UTF-8 inside", "8161ff"),
    ("D19 invalid UTF-8 key", "a161ff01"),
    ("D19 surrogate", "63eda080"),
    ("D04 2**63", "1b8000000000000000"),
    ("D04 2**63 inside", "811b8000000000000000"),
    ("D04 -2**63-1", "3b8000000000000000"),
]


@pytest.mark.parametrize("data", [row[1] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_what_is_not_read(data: str) -> None:
    with pytest.raises(WireError):
        decode(bytes.fromhex(data))


@pytest.mark.parametrize("data", ["81" * 33 + "00", "a10102", "a1fb3ff800000000000001", "9fff"])
def test_D12_D18_the_decoder_refuses_before_it_builds(data: str) -> None:
    """Keys that collide, or a deep value, must not first be built and then be looked at."""
    with pytest.raises(WireError) as caught:
        decode(bytes.fromhex(data))
    assert isinstance(caught.value.__cause__, cbor2.CBORDecodeError)


@pytest.mark.parametrize("tag", TAGS)
def test_D15_no_tag_is_read_and_no_decoder_of_a_tag_runs(tag: int) -> None:
    head = cbor2.dumps(cbor2.CBORTag(tag, None))[:-1]
    for content in ("00", "6161", "4161", "80", "a0", "8200f6"):
        for outside in ("", "81", "a16161"):
            with pytest.raises(WireError) as caught:
                decode(bytes.fromhex(outside) + head + bytes.fromhex(content))
            cause = caught.value.__cause__
            assert cause is not None and isinstance(cause.__cause__, WireError)
            assert str(cause.__cause__) == f"a value has the tag {tag}"


@pytest.mark.parametrize(
    ("data", "value"),
    [
        ("1800", 0),
        ("190001", 1),
        ("3800", -1),
        ("780161", "a"),
        ("7a0000000161", "a"),
        ("580161", b"a"),
        ("f93e00", 1.5),
        ("fa3fc00000", 1.5),
        ("fb7ff0000000000000", math.inf),
        ("9800", []),
        ("8119000a", [10]),
        ("81f93e00", [1.5]),
    ],
)
def test_longer_and_shorter_forms_are_read(data: str, value: Any) -> None:
    assert same(decode(bytes.fromhex(data)), value)


@given(VALUES, st.data())
@settings(max_examples=300, deadline=None)
def test_D22_damaged_bytes_give_a_wire_error_or_a_value_that_may_be_stored(
    value: Any, data: st.DataObject
) -> None:
    damaged = bytearray(encode("x", value))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(damaged)))
        damaged[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
    try:
        read = decode(bytes(damaged))
    except WireError:
        return
    laws(read)


@given(st.binary(max_size=64))
@settings(max_examples=300, deadline=None)
def test_D22_any_bytes_give_a_wire_error_or_a_value_that_may_be_stored(data: bytes) -> None:
    try:
        read = decode(data)
    except WireError:
        return
    laws(read)
