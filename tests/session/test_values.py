"""What may be stored, the path of what may not, and the bounds (abuse cases D01 to D07)."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import decimal
import enum
import fractions
import math
import re
import subprocess
import sys
import uuid
import zoneinfo
from typing import Any, cast

import pytest

from replsession.config import Limits
from replsession.errors import SessionTooLarge, UnserializableAttribute
from replsession.session.codec import decode, encode
from replsession.session.format import ITEMS_MAX
from replsession.session.values import check, check_name, is_plain, mutable
from tests.session import shop


class Colour(enum.StrEnum):
    RED = "red"


class Level(enum.IntEnum):
    LOW = 1


class Pair(collections.namedtuple("Pair", "x y")):
    __slots__ = ()


class Text(str):
    pass


class Moment(datetime.datetime):
    pass


@dataclasses.dataclass
class Plain:
    n: int


class Special(shop.Line):
    """Its base is registered, but not it."""


class Opaque:
    def __repr__(self) -> str:
        raise AssertionError("the repr of a value must not stand in an error: it may hold secrets")


def nested(depth: int, kind: type = list) -> Any:
    value: Any = kind()
    for _ in range(depth - 1):
        value = {"k": value} if kind is dict else kind([value])
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
    nested(32, tuple),
    list(range(10_000)),
    (),
    (1, [2]),
    set(),
    {1, "a", None, (1, 2), frozenset({3})},
    frozenset({b"x"}),
    {1: 2},
    {1: 2, "1": 3, -(2**63): 4},
    datetime.datetime(2026, 1, 1),
    datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
    datetime.datetime(2026, 1, 1, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin"), fold=1),
    datetime.date(2026, 1, 1),
    datetime.time(12),
    datetime.timedelta(1),
    decimal.Decimal("1.50"),
    decimal.Decimal("sNaN"),
    uuid.UUID(int=1),
    shop.Colour.RED,
    shop.Level.LOW,
    shop.Permission.READ | shop.Permission.WRITE,
    shop.Slug("a"),
    shop.Point(1, 2),
    shop.Cart([shop.Line("a")], {shop.Colour.BLUE}, {1: (shop.Price(1),)}),
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
    ("D05 bool key", {True: 2}, "x", "a key of type bool"),
    ("D05 float key", {1.0: 2}, "x", "a key of type float"),
    ("D05 IntEnum key", {shop.Level.LOW: 2}, "x", "a key of type tests.session.shop.Level"),
    ("D05 a key too long", {2**63: 2}, "x", "a key that is an int of more than 64 bits"),
    ("D05 mixed", {1: 1, "a": {None: 1}}, "x.a", "a key of type NoneType"),
    ("D05 tuple key", {"a": [{(1,): 2}]}, "x.a[0]", "a key of type tuple"),
    ("D05 bytes key", {b"k": 1}, "x", "a key of type bytes"),
    ("D05 None key", {None: 1}, "x", "a key of type NoneType"),
    ("D05 StrEnum key", {Colour.RED: 1}, "x", f"a key of type {__name__}.Colour"),
    ("D06 set", {1, 1j}, "x{…}", "complex"),
    ("D06 tuple", {"a": (1, (2, re.compile("a")))}, "x.a[1][1]", "re.Pattern"),
    ("D06 int key", {3: {"a": [1j]}}, "x[3].a[0]", "complex"),
    ("D06 fraction", {"price": fractions.Fraction(1)}, "x.price", "fractions.Fraction"),
    ("D06 field", shop.Cart([shop.Line("a", cast("Any", 1j))]), "x.lines[0].n", "complex"),
    ("D06 field deep", [shop.Cart(notes={"a": (1j,)})], "x[0].notes.a[0]", "complex"),
    ("D06 pattern", re.compile("a"), "x", "re.Pattern"),
    ("D06 class", Opaque(), "x", f"{__name__}.Opaque"),
    ("D06 type", int, "x", "type"),
    ("D06 bytearray", bytearray(b"x"), "x", "bytearray"),
    ("named tuple", Pair(1, 2), "x", f"{__name__}.Pair (it would come back as tuple)"),
    ("StrEnum", Colour.RED, "x", f"{__name__}.Colour (an Enum that is not registered)"),
    ("IntEnum", [Level.LOW], "x[0]", f"{__name__}.Level (an Enum that is not registered)"),
    ("str", Text("a"), "x", f"{__name__}.Text (it would come back as str)"),
    ("datetime", Moment(2026, 1, 1), "x", f"{__name__}.Moment (it would come back as datetime)"),
    ("dataclass", (Plain(1),), "x[0]", f"{__name__}.Plain"),
    ("registered base", (Special("a"),), "x[0]", f"{__name__}.Special"),
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
    ("an equal one before", [1, 1.0, True, 1 + 0j], "x[3]", "complex"),
    ("line break in a key", {"a\n": 1j}, 'x["a\\n"]', "complex"),
    ("D01 33 lists", nested(33), "x" + "[0]" * 32, "nested deeper than 32 levels"),
    ("D01 33 tuples", nested(33, tuple), "x" + "[0]" * 32, "nested deeper than 32 levels"),
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
    assert 0 < lines < 40 * ITEMS_MAX


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


@pytest.mark.parametrize(
    "value",
    [
        *([], {}, set(), ([],), (1, (2, ({},))), frozenset({(1, shop.Tag("a"))})),
        *(shop.Line("a"), shop.Cart(), shop.Tag("a"), shop.Point(1, 2)),
        *(
            shop.Price([]),
            shop.Price((1, {})),
            (shop.Price(shop.Line("a")),),
            object(),
            (object(),),
        ),
    ],
    ids=repr,
)
def test_what_can_change_in_place(value: Any) -> None:
    assert mutable(value)


@pytest.mark.parametrize(
    "value",
    [
        *(None, True, 1, 1.5, "x", b"x", (), (1, "a"), frozenset({(1,)})),
        *(
            datetime.datetime(2026, 1, 1),
            datetime.timedelta(1),
            decimal.Decimal(1),
            uuid.UUID(int=1),
        ),
        *(shop.Colour.RED, shop.Permission.READ, shop.Slug("a"), (shop.Slug("a"),)),
        *(shop.Price(1), shop.Price((shop.Price("a"), frozenset({1})))),
    ],
    ids=repr,
)
def test_what_can_not(value: Any) -> None:
    assert not mutable(value)


def test_what_may_be_in_itself_is_watched() -> None:
    price = shop.Price(1)
    object.__setattr__(price, "amount", price)
    assert mutable(price)
    many: Any = ()
    for _ in range(40):
        many = (many, many)
    assert mutable(many)


def test_what_is_plain() -> None:
    plain: list[Any] = [[1, {"a": None}], "x", 1, None]
    others: list[Any] = [(), [()], {1: 1}, 2**63, "\ud800", {"\ud800": 1}, [object()], nested(33)]
    assert all(map(is_plain, plain))
    assert not any(map(is_plain, others))


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
    assert len(str(caught.value)) < 500


DEEP = """
from dataclasses import dataclass
from replsession import register
from replsession.errors import SessionError
from replsession.session.codec import encode
from replsession.session.values import check
depth = 100_000
@register("holder")
@dataclass
class Holder:
    held: object
    def __hash__(self): return 1
@register("chain", to_plain=lambda it: Chain(), from_plain=print)
class Chain: ...
register("itself", type("Itself", (), {}), to_plain=lambda it: it, from_plain=print)
def values():
    for make in (
        lambda value: [value], lambda value: {"k": value}, lambda value: [value, value],
        lambda value: (value,), lambda value: {1: value}, lambda value: (value, [value]),
        Holder,
    ):
        value = []
        for _ in range(depth):
            value = make(value)
        yield value
    value = frozenset()
    for _ in range(depth // 100):
        value = frozenset([value])
    yield {value}
    itself = []
    itself.append(itself)
    yield itself
    yield (itself,)
    for held in (itself, values):
        yield Holder(held)
    holder = Holder(1)
    holder.held = holder
    yield holder
    yield {holder}
    yield Chain()
    from replsession.session.registry import by_name
    yield by_name["itself"].cls()
count = 0
for value in values():
    count += 1
    for refuse in (check, encode):
        try:
            refuse("x", value)
        except SessionError as error:
            print(type(error).__name__)
print(count, flush=True)
# Taking apart what is deep recurses in Python itself, whatever we do.
import os
os._exit(0)
"""


def test_D01_a_value_100_000_levels_deep_cannot_kill_the_process() -> None:
    done = subprocess.run(
        [sys.executable, "-c", DEEP], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    *refused, count = done.stdout.split()
    assert refused == ["UnserializableAttribute"] * 2 * int(count)
    assert int(count) == 16


SMALL_STACK = """
import threading
from tests.session.test_values import deepest
from replsession.session.codec import decode, encode
def run():
    for value in deepest():
        data = encode("x", value)
        assert encode("x", decode(data)) == data
        print(len(data))
threading.stack_size(512 * 1024)
thread = threading.Thread(target=run)
thread.start()
thread.join()
"""


def deepest() -> list[Any]:
    """Return values that take as much of the native stack as any."""
    zone = datetime.timezone(datetime.timedelta(1, -1), "name")
    objects: Any = datetime.time(1, tzinfo=zone)
    for _ in range(32):
        objects = shop.Boxed(objects)
    return [nested(32), nested(32, dict), nested(32, tuple), nested(32, frozenset), objects]


def test_the_deepest_values_that_may_be_stored_are_read() -> None:
    for value in deepest():
        assert shop.same(decode(encode("x", value)), value)


def test_the_deepest_values_that_may_be_stored_need_little_of_the_stack() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SMALL_STACK], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split()) == len(deepest())
