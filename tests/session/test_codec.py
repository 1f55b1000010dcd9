"""The bytes of a value: the laws of the codec, and what it refuses to read (D07, D11 to D19)."""

from __future__ import annotations

import math
import os
import struct
import subprocess
import sys
from decimal import Decimal
from typing import Any

import cbor2
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from replsession.config import Limits
from replsession.errors import SessionTooLarge, UnserializableAttribute, WireError
from replsession.session.codec import decode, encode, is_untouched
from tests.session.shop import Cart, Colour, Line, Price, Tag, is_itself, same
from tests.strategies import plain_values, session_values

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


def laws(value: Any) -> None:
    data = encode("x", value)
    back = decode(data)
    assert same(value, back)
    assert back == value or not is_itself(value)
    assert encode("x", back) == data


def laws_of_plain(value: Any) -> None:
    laws(value)
    assert encode("x", value) == cbor2.dumps(value)


@pytest.mark.parametrize("value", EDGES, ids=lambda value: repr(value)[:20])
def test_a_value_comes_back_equal_and_gives_the_same_bytes_at_the_edges(value: Any) -> None:
    laws_of_plain(value)
    laws_of_plain([value])
    laws_of_plain({"k": value})
    laws((value,))
    laws({1: value})


@given(plain_values)
@settings(max_examples=300, deadline=None)
@example({"b": 1, "a": 2})
@example([{"k": []}] * 3)
def test_a_plain_value_comes_back_equal_and_gives_the_same_bytes(value: Any) -> None:
    laws_of_plain(value)


@given(session_values)
@settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@example({1: "a", "1": "b"})
@example({math.nan, (math.nan,), Decimal("NaN")})
@example({Tag("a"), Tag("a")})
def test_a_value_of_any_type_comes_back_equal_and_gives_the_same_bytes(value: Any) -> None:
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


@pytest.mark.parametrize("value", [{1.5: 2}, (1j,), object(), 2**63, "\ud800", ["é\ud800"]])
def test_what_may_not_be_stored_is_not_encoded(value: Any) -> None:
    with pytest.raises(UnserializableAttribute):
        encode("x", value)


TAGS = [
    *range(60),
    *(100, 256, 257, 258, 259, 260, 261, 262, 1004, 43000, 55799, 999, 2**32, 2**64 - 1),
]

TAGS_OF_OURS = range(0xC001, 0xC00C)
NO_CONTAINERS = range(0xC005, 0xC00C)

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


@pytest.mark.parametrize("data", ["81" * 132 + "00", "a10102", "a1fb3ff800000000000001", "9fff"])
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


def tagged(tag: int, content: str) -> str:
    return (b"\xd9" + tag.to_bytes(2, "big")).hex() + content


def of_type(name: str, version: str, plain: str) -> str:
    return "d9c00b83" + cbor2.dumps(name).hex() + version + plain


REFUSED_TAGS: list[tuple[str, str]] = [
    *((f"{tag:x} of null", tagged(tag, "f6")) for tag in TAGS_OF_OURS),
    *((f"{tag:x} of a map", tagged(tag, "a0")) for tag in TAGS_OF_OURS),
    *((f"{tag:x} of 4 nulls", tagged(tag, "84f6f6f6f6")) for tag in NO_CONTAINERS),
    *((f"{tag:x} of itself", tagged(tag, tagged(tag, "80"))) for tag in TAGS_OF_OURS),
    ("c000", tagged(0xC000, "80")),
    ("c00c", tagged(0xC00C, "80")),
    ("trailing", tagged(0xC001, "8000")),
    ("33 tuples", "d9c00181" * 32 + "d9c00180"),
    ("33 sets", "d9c00381" * 32 + "d9c00380"),
    ("100 000 tuples", "d9c00181" * 100_000 + "d9c00180"),
    ("100 000 bare tags", "d9c001" * 100_000 + "80"),
    ("33 objects in one another", "d9c00b83616101" * 33 + "00"),
    ("10 001 items of tuples", "d9c0019a00002711" + "80" * 10_001),
    (
        "10 001 items of plain forms",
        "82"
        + of_type("a", "01", "991388" + "f6" * 5000)
        + of_type("a", "01", "991388" + "f6" * 5000),
    ),
    ("a set with an item twice", tagged(0xC002, "820101")),
    ("a set with 1 and true", tagged(0xC002, "8201f5")),
    ("a set of a list", tagged(0xC002, "8180")),
    ("a set of a set", tagged(0xC002, "81d9c00280")),
    ("a set of a tuple of a list", tagged(0xC002, "81d9c0018180")),
    ("a set of a signaling nan", tagged(0xC002, "81" + tagged(0xC009, "64734e614e"))),
    (
        "a set of what can't be hashed",
        tagged(0xC002, "81" + of_type("shop.line", "01", "a363736b756161616e0165707269636501")),
    ),
    ("a dict with a key twice", tagged(0xC004, "8401000101")),
    ("a dict with texts only", tagged(0xC004, "82616101")),
    ("a dict without keys", tagged(0xC004, "80")),
    ("a dict with half an entry", tagged(0xC004, "8101")),
    ("a dict with the key true", tagged(0xC004, "82f501")),
    ("a dict with the key 1.0", tagged(0xC004, "82fb3ff000000000000001")),
    ("a dict with the key 2**63", tagged(0xC004, "821b800000000000000001")),
    ("a tuple of 2**63", tagged(0xC001, "811b8000000000000000")),
    ("a tuple of undefined", tagged(0xC001, "81f7")),
    ("a tuple of a simple value", tagged(0xC001, "81e0")),
    ("a tuple of a tagged date", tagged(0xC001, "81c06161")),
    ("a tuple of a map with an int key", tagged(0xC001, "81a10102")),
    ("a tuple of a map with a bytes key", tagged(0xC001, "81a1416102")),
    ("a day before the first", tagged(0xC006, "00")),
    ("a day after the last", tagged(0xC006, "1a0037b9dc")),
    ("a day that is true", tagged(0xC006, "f5")),
    ("a datetime before the first", tagged(0xC005, "8320f600")),
    ("a datetime after the last", tagged(0xC005, "831b0461040bcb9f2000f600")),
    ("a datetime with fold 2", tagged(0xC005, "8300f602")),
    ("a datetime with fold true", tagged(0xC005, "8300f6f5")),
    ("a datetime 24 hours off", tagged(0xC005, "83001b000000141dd7600000")),
    ("a datetime of no zone", tagged(0xC005, "8300674e6f2f7375636800")),
    ("a datetime of a folder", tagged(0xC005, "8300664575726f706500")),
    ("a datetime of a file outside", tagged(0xC005, "8300" + "6d" + b"../etc/passwd".hex() + "00")),
    ("a datetime of an absolute file", tagged(0xC005, "8300" + "6b" + b"/etc/passwd".hex() + "00")),
    ("a datetime of a zone with NUL", tagged(0xC005, "830065550054436100")),
    ("UTC with the name UTC", tagged(0xC005, "830082006355544300")),
    ("a time at 24:00", tagged(0xC007, "831b000000141dd76000f600")),
    ("a timedelta of 86 400 seconds", tagged(0xC008, "83001a0001518000")),
    ("a timedelta of -1 seconds", tagged(0xC008, "83002000")),
    ("a timedelta of 10**9 days", tagged(0xC008, "831a3b9aca000000")),
    ("a Decimal with spaces", tagged(0xC009, "63203120")),
    ("a Decimal with an underscore", tagged(0xC009, "63315f30")),
    ("a Decimal in words", tagged(0xC009, "63636174")),
    ("a Decimal with +", tagged(0xC009, "622b31")),
    (
        "a Decimal with a small e",
        tagged(0xC009, "6431652b35"),
    ),
    ("a Decimal of other digits", tagged(0xC009, "62d9a1")),
    (
        "a Decimal too large",
        tagged(0xC009, "7818" + b"1E+99999999999999999999".ljust(24, b"9").hex()),
    ),
    ("a UUID of 15 bytes", tagged(0xC00A, "4f" + "00" * 15)),
    ("a type that is unknown", of_type("unknown", "01", "00")),
    ("a type with a long name", of_type("a" * 65, "01", "00")),
    ("a type with a name of bytes", "d9c00b8341610100"),
    ("a version of 0", of_type("shop.colour", "00", "63524544")),
    ("a version of true", of_type("shop.colour", "f5", "63524544")),
    ("a version that is newer", of_type("shop.colour", "02", "63524544")),
    ("a member that is not there", of_type("shop.colour", "01", "63726564")),
    ("a field that is not there", of_type("shop.line", "01", "a2" + "63736b756161" + "616101")),
    ("a field that is missing", of_type("shop.line", "01", "a1616e01")),
    ("fields that are none", of_type("shop.line", "01", "80")),
]


@pytest.mark.parametrize(
    "data", [row[1] for row in REFUSED_TAGS], ids=[row[0] for row in REFUSED_TAGS]
)
def test_what_is_not_read_under_a_tag_of_ours(data: str) -> None:
    for outside in ("", "81", "a16161", "d9c00181"):
        with pytest.raises(WireError):
            decode(bytes.fromhex(outside + data))


def test_other_forms_of_a_tag_and_other_orders_of_a_set_are_read() -> None:
    assert decode(bytes.fromhex("da0000c00180")) == ()
    assert decode(bytes.fromhex("d9c002820201")) == {1, 2}
    assert decode(bytes.fromhex("d9c0018180")) == ([],)
    assert decode(bytes.fromhex("d9c00181a1616180")) == ({"a": []},)
    assert type(decode(bytes.fromhex("d9c00181a1616180"))[0]) is dict


ORDER = """
import sys
from replsession.session.codec import decode, encode
value = {"a", "b", "c", b"a", 1, -1, None, 2.5, (1, "x"), frozenset({"y", "z", frozenset("pqr")})}
data = encode("x", value)
assert encode("x", decode(data)) == data
print(hash("a"), data.hex())
"""


def test_a_set_gives_the_same_bytes_in_every_process() -> None:
    printed = []
    for seed in ("1", "2", "3"):
        done = subprocess.run(
            [sys.executable, "-c", ORDER],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        printed.append(done.stdout.split())
    assert len({order for order, _ in printed}) == 3
    assert len({data for _, data in printed}) == 1


def test_bytes_that_look_like_a_tag_are_bytes() -> None:
    laws([b"\xd9\xc0\x01\x80", "x"])
    laws((b"\xd9\xc0\x0b",))


def test_nothing_of_what_was_given_is_shared_with_what_comes_back() -> None:
    cart = Cart([Line("a")], {Colour.RED}, notes=([],))
    back = decode(encode("x", cart))
    back.lines[0].n += 1
    back.colours.clear()
    back.notes[0].append(1)
    assert same(cart, Cart([Line("a")], {Colour.RED}, notes=([],)))


def test_what_this_member_writes_for_what_it_reads_is_untouched() -> None:
    old = bytes.fromhex(of_type("shop.price", "01", "a166616d6f756e7401"))
    assert decode(old) == Price(1)
    new = encode("x", Price(1))
    assert new != old
    assert is_untouched(old, new) and is_untouched(new, new)
    assert not is_untouched(old, encode("x", Price(2)))
    assert not is_untouched(encode("x", [1]), encode("x", [2]))
    unknown = bytes.fromhex(of_type("unknown", "01", "00"))
    assert not is_untouched(unknown, new)


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


@given(session_values, st.data())
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
