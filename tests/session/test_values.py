"""What may be stored, the path of what may not, and the bounds (abuse cases D01 to D07)."""

from __future__ import annotations

import collections
import datetime
import decimal
import enum
import math
import re
import subprocess
import sys
from typing import Any

import pytest

from replsession.config import Limits
from replsession.errors import SessionTooLarge, UnserializableAttribute
from replsession.session import values
from replsession.session.values import check, check_name, mutable


class Colour(enum.StrEnum):
    RED = "red"


class Level(enum.IntEnum):
    LOW = 1


class Point(collections.namedtuple("Point", "x y")):
    __slots__ = ()


class Opaque:
    def __repr__(self) -> str:
        raise AssertionError("the repr of a value must not stand in an error: it may hold secrets")


def nested(depth: int, kind: type = list) -> Any:
    value: Any = kind()
    for _ in range(depth - 1):
        value = [value] if kind is list else {"k": value}
    return value


def itself(kind: str) -> Any:
    if kind == "dict":
        mapping: dict[str, Any] = {}
        mapping["me"] = mapping
        return mapping
    items: list[Any] = []
    items += [items] * (5000 if kind == "wide list" else 2 if kind == "double list" else 1)
    return items


FINE: list[Any] = [
    None,
    True,
    0,
    2**63 - 1,
    -(2**63),
    0.0,
    -0.0,
    math.nan,
    math.inf,
    "",
    "漢字 😀 \x00",
    b"",
    bytes(range(256)),
    [],
    {},
    {"": {"": [None, [], {}]}},
    [[1, 2.5, "x", b"y", True, None]],
    nested(32),
    nested(32, dict),
    list(range(10_000)),
]


@pytest.mark.parametrize("value", FINE, ids=lambda value: repr(value)[:20])
def test_what_may_be_stored(value: Any) -> None:
    check("x", value)


REFUSED: list[tuple[str, Any, str, str]] = [
    ("D03 surrogate", "\ud800", "x", "str with a lone surrogate"),
    ("D03 surrogate inside", {"a": ["\udfff"]}, "x.a[0]", "str with a lone surrogate"),
    ("D03 surrogate key", {"a": {"\ud800": 1}}, "x.a", "a key with a lone surrogate"),
    ("D04 2**63", 2**63, "x", "int of more than 64 bits"),
    ("D04 -2**63-1", [-(2**63) - 1], "x[0]", "int of more than 64 bits"),
    ("D04 10**20000", {"n": 10**20000}, "x.n", "int of more than 64 bits"),
    ("D05 int key", {1: 2}, "x", "a key of type int"),
    ("D05 tuple key", {"a": [{(1,): 2}]}, "x.a[0]", "a key of type tuple"),
    ("D05 bytes key", {b"k": 1}, "x", "a key of type bytes"),
    ("D05 None key", {None: 1}, "x", "a key of type NoneType"),
    ("D05 StrEnum key", {Colour.RED: 1}, "x", f"a key of type {__name__}.Colour"),
    ("D06 set", {1}, "x", "set"),
    ("D06 Decimal", {"price": decimal.Decimal(1)}, "x.price", "decimal.Decimal"),
    ("D06 datetime", [datetime.datetime(2026, 1, 1)], "x[0]", "datetime.datetime"),
    ("D06 pattern", re.compile("a"), "x", "re.Pattern"),
    ("D06 class", Opaque(), "x", f"{__name__}.Opaque"),
    ("D06 type", int, "x", "type"),
    ("D06 bytearray", bytearray(b"x"), "x", "bytearray"),
    ("tuple", (1, 2), "x", "tuple (it would come back as list)"),
    ("named tuple", Point(1, 2), "x", f"{__name__}.Point (it would come back as list)"),
    ("StrEnum", Colour.RED, "x", f"{__name__}.Colour (it would come back as str)"),
    ("IntEnum", [Level.LOW], "x[0]", f"{__name__}.Level (it would come back as int)"),
    (
        "OrderedDict",
        {"a": collections.OrderedDict()},
        "x.a",
        "collections.OrderedDict (it would come back as dict)",
    ),
    (
        "defaultdict",
        collections.defaultdict(list),
        "x",
        "collections.defaultdict (it would come back as dict)",
    ),
    ("deep path", [0, {"odd key": [{"x": 1j}]}], 'x[1]["odd key"][0].x', "complex"),
    ("an equal one before", [1, 1.0, True, decimal.Decimal(1)], "x[3]", "decimal.Decimal"),
    ("line break in a key", {"a\n": set()}, 'x["a\\n"]', "set"),
    ("D01 33 lists", nested(33), "x" + "[0]" * 32, "nested deeper than 32 levels"),
    ("D01 33 dicts", nested(33, dict), "x" + ".k" * 32, "nested deeper than 32 levels"),
    ("D02 list", itself("list"), "x" + "[0]" * 32, "nested deeper than 32 levels"),
    ("D02 dict", itself("dict"), "x" + ".me" * 32, "nested deeper than 32 levels"),
    ("D02 double list", itself("double list"), "x", "more than 10000 items"),
    ("D02 wide list", itself("wide list"), "x", "more than 10000 items"),
    ("D17 10 001 items", [[None] * 5000, [None] * 4999], "x", "more than 10000 items"),
]


@pytest.mark.parametrize(
    ("value", "path", "problem"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED]
)
def test_what_is_refused(value: Any, path: str, problem: str) -> None:
    with pytest.raises(UnserializableAttribute) as caught:
        check("x", value)
    assert (caught.value.path, caught.value.problem) == (path, problem)


def test_a_long_key_is_shortened_in_the_path() -> None:
    with pytest.raises(UnserializableAttribute) as caught:
        check("x", {"k" * 5000: object()})
    assert caught.value.path == 'x["' + "k" * 40 + '\\u2026"]'


@pytest.mark.parametrize("kind", ["list", "dict", "double list", "wide list"])
def test_D02_the_check_of_a_value_in_itself_is_bounded(kind: str) -> None:
    """Counted in lines of Python, not in seconds: each item costs a bounded number of them."""
    lines = 0

    def count(frame: Any, event: str, _: Any) -> Any:
        nonlocal lines
        lines += event == "line"
        return count

    value = itself(kind)
    before = sys.gettrace()
    sys.settrace(count)
    try:
        with pytest.raises(UnserializableAttribute):
            check("x", value)
    finally:
        sys.settrace(before)
    assert 0 < lines < 15 * values.ITEMS_MAX


def test_texts_beyond_the_bound_are_refused_before_they_are_encoded() -> None:
    limits = Limits(value_bytes_max=100)
    check("x", ["x" * 50, b"y" * 50], limits)
    for value in ("x" * 101, b"x" * 101, ["x" * 50, b"y" * 51], {"k" * 101: 1}):
        with pytest.raises(SessionTooLarge, match="'x' has 101 bytes or more; at most 100"):
            check("x", value, limits)


def test_limits_may_lower_the_bounds_of_the_format_and_never_raise_them() -> None:
    low = Limits(value_depth_max=2, value_items_max=3)
    check("x", [[1, 2]], low)
    with pytest.raises(UnserializableAttribute, match="deeper than 2"):
        check("x", [[[]]], low)
    with pytest.raises(UnserializableAttribute, match="more than 3 items"):
        check("x", [1, 2, 3, 4], low)
    high = Limits(value_depth_max=1000, value_items_max=10**9)
    with pytest.raises(UnserializableAttribute, match="deeper than 32"):
        check("x", nested(33), high)
    with pytest.raises(UnserializableAttribute, match="more than 10000 items"):
        check("x", [None] * 10_001, high)


def test_mutable_are_lists_and_dicts() -> None:
    assert mutable([]) and mutable({})
    assert not any(mutable(value) for value in (None, True, 1, 1.5, "x", b"x"))


def test_scalars_and_containers_are_the_types_of_the_table() -> None:
    allowed = {type(value) for value in FINE}
    assert allowed == values.SCALARS | values.CONTAINERS


@pytest.mark.parametrize("name", ["", "counter", "é" * 128, "a" * 256, "a\0b", "with space\n"])
def test_names_that_are_taken(name: str) -> None:
    assert check_name(name) == name


def test_a_name_of_a_str_enum_becomes_a_plain_str() -> None:
    assert check_name(Colour.RED) == "red"
    assert type(check_name(Colour.RED)) is str


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("\0secret", "a name that begins with NUL"),
        ("é" * 129, "a name of more than 256 bytes"),
        ("a" * 257, "a name of more than 256 bytes"),
        ("\ud800", "a name with a lone surrogate"),
        (1, "a name of type int"),
        (None, "a name of type NoneType"),
        (b"x", "a name of type bytes"),
        (Opaque(), f"a name of type {__name__}.Opaque"),
    ],
)
def test_names_that_are_refused(name: object, problem: str) -> None:
    with pytest.raises(UnserializableAttribute) as caught:
        check_name(name)
    assert caught.value.problem == problem
    assert len(str(caught.value)) < 300


DEEP = """
from replsession.errors import SessionError
from replsession.session.codec import encode
from replsession.session.values import check
for make in (lambda value: [value], lambda value: {"k": value}, lambda value: [value, value]):
    value = []
    for _ in range(100_000):
        value = make(value)
    for refuse in (check, encode):
        try:
            refuse("x", value)
        except SessionError as error:
            print(type(error).__name__)
"""


def test_D01_a_value_100_000_levels_deep_cannot_kill_the_process() -> None:
    done = subprocess.run(
        [sys.executable, "-c", DEEP], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["UnserializableAttribute"] * 6
