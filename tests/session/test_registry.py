"""Registration: what may be registered, and how objects are made of what was stored."""

from __future__ import annotations

import abc
import collections
import dataclasses
import datetime
import enum
import importlib
import sys
from dataclasses import InitVar, dataclass, field
from pathlib import Path
from typing import Any

import pytest

from replsession import register
from replsession.errors import ConfigError, UnserializableAttribute, WireError
from replsession.session import registry
from replsession.session.codec import decode, encode
from replsession.session.registry import restored
from replsession.session.values import mutable
from tests.session.shop import Cart, Colour, Level, Line, Permission, Point, Price, Slug, Tag

pytestmark = pytest.mark.usefixtures("own_registry")


def back(value: Any) -> Any:
    return decode(encode("x", value))


@dataclass
class Plain:
    n: int = 1


class Opaque:
    def __init__(self, n: int) -> None:
        self.n = n


def test_it_is_a_decorator_and_a_call() -> None:
    assert register("a")(Plain) is Plain
    assert register("b", Opaque, to_plain=vars, from_plain=lambda p: Opaque(**p)) is Opaque
    assert back(Plain(5)) == Plain(5)
    assert back(Opaque(5)).n == 5


@pytest.mark.parametrize("value", [Colour.BLUE, Level.LOW, Permission.READ | Permission.OWN])
def test_an_enum_member_comes_back_as_itself(value: Any) -> None:
    assert back(value) is value
    assert back({value: 1}.keys() and frozenset([value])) == {value}


def test_an_alias_keeps_a_renamed_member_readable() -> None:
    assert restored("shop.colour", 1, "ROUGE") is Colour.RED
    assert encode("x", Colour.ROUGE) == encode("x", Colour.RED)


def test_a_dataclass_comes_back_as_it_was_when_it_was_stored() -> None:
    cart = Cart([Line("a")], {Colour.RED}, "a note")
    assert cart.lines_at_start == 1
    cart.lines.append(Line("b"))
    returned = back(cart)
    assert returned == cart and returned.lines_at_start == 1
    assert type(returned.lines[1]) is Line


def test_post_init_runs_and_does_not_win() -> None:
    @register("order")
    @dataclass
    class Order:
        total: int

        def __post_init__(self) -> None:
            self.total += 1
            self.is_open = True

    order = Order(1)
    assert order.total == 2
    assert (back(order).total, back(order).is_open) == (2, True)


def test_a_new_field_with_a_default_needs_no_version() -> None:
    assert restored("shop.price", 1, {"amount": 1}) == Price(1, "EUR")


def test_methods_of_the_class_are_taken_and_arguments_win() -> None:
    assert back(Tag("a")).text == "a"

    @register("tag.other", to_plain=lambda tag: tag.text)
    class Other(Tag):
        @classmethod
        def from_plain(cls, plain: Any) -> Other:
            return cls(plain)

    assert back(Other("b")).text == "b" and type(back(Other("b"))) is Other


def test_subclasses_of_what_has_a_content_come_back_with_it() -> None:
    assert (back(Slug("a")), type(back(Slug("a")))) == ("a", Slug)
    assert type(back([{"a": (Slug("a"),)}])[0]["a"][0]) is Slug
    assert (back(Point(1, 2)), type(back(Point(1, 2)))) == (Point(1, 2), Point)
    ordered: Any = collections.OrderedDict
    register("ordered", ordered, to_plain=lambda it: [*map(list, it.items())], from_plain=ordered)
    assert back(ordered(b=1, a=2)) == ordered(b=1, a=2)
    assert type(back(ordered())) is ordered


def test_a_plain_form_may_hold_another_registered_object() -> None:
    @register("wrapped", to_plain=lambda it: it.held, from_plain=lambda plain: Wrapped(plain))
    @dataclass
    class Wrapped:
        held: Any

    assert back(Wrapped(Wrapped(Colour.RED))) == Wrapped(Wrapped(Colour.RED))


REFUSED_CLASSES: list[Any] = [
    *(int, str, list, dict, tuple, set, frozenset, type(None), bool, object, type),
    *(datetime.datetime, list[int], "Plain", Plain(), None.__class__, abc.ABC()),
]


@pytest.mark.parametrize("cls", REFUSED_CLASSES, ids=repr)
def test_classes_that_are_refused(cls: Any) -> None:
    with pytest.raises(ConfigError, match=r"register\('x'\)"):
        register("x")(cls)


def test_classes_that_need_functions() -> None:
    class Abstract(abc.ABC):
        @abc.abstractmethod
        def name(self) -> str: ...

    @dataclass
    class Dictionary(dict[str, Any]):
        n: int

    @dataclass
    class Initialised:
        n: int
        factor: InitVar[int]

    @dataclass(init=False)
    class ByHand:
        n: int

        def __init__(self, other: int) -> None:
            self.n = other

    class Inherited(Plain):
        pass

    for cls in (Abstract, Dictionary, Initialised, ByHand, Inherited, Opaque, Exception):
        with pytest.raises(ConfigError):
            register("x", cls)
    with pytest.raises(ConfigError, match="from_plain"):
        register("x", Opaque, to_plain=vars)
    with pytest.raises(ConfigError, match="to_plain"):
        register("x", Opaque, from_plain=Opaque)
    assert "x" not in registry.by_name


@pytest.mark.parametrize("name", ["", "a b", "é", "a" * 65, 1, None, b"a", Colour.RED, "a\n"])
def test_names_that_are_refused(name: Any) -> None:
    with pytest.raises(ConfigError, match="register: name"):
        register(name, Plain)


@pytest.mark.parametrize("version", [0, -1, 2**31 + 1, True, 1.0, "1", None])
def test_versions_that_are_refused(version: Any) -> None:
    with pytest.raises(ConfigError, match="register: version"):
        register("x", Plain, version=version)


@pytest.mark.parametrize("argument", ["upgrade", "to_plain", "from_plain"])
def test_what_is_no_function_is_refused(argument: str) -> None:
    arguments: Any = {argument: 1}
    with pytest.raises(ConfigError, match=f"register: {argument}"):
        register("x", Plain, **arguments)


def test_a_name_belongs_to_one_class_and_a_class_has_one_name() -> None:
    register("x", Plain)
    with pytest.raises(ConfigError, match="another name: this one is that of tests"):
        register("x", Opaque, to_plain=vars, from_plain=Opaque)
    with pytest.raises(ConfigError, match="only the name that it has already, 'x'"):
        register("y", Plain)
    register("x", Plain, version=2**31)
    assert registry.by_name["x"].version == 2**31


MODULE = """
from dataclasses import dataclass
from replsession import register
@register("reloaded")
@dataclass
class Thing:
    n: int = 1
"""


def test_a_module_may_be_reloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "reloaded_by_a_test.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("reloaded_by_a_test")
    before = module.Thing(5)
    data = encode("x", before)
    importlib.reload(module)
    assert type(before) is not module.Thing
    assert type(decode(data)) is module.Thing
    assert encode("x", before) == data
    del sys.modules["reloaded_by_a_test"]


def raising(*_: Any) -> Any:
    raise ValueError("with something secret in it")


def test_what_to_plain_raises_names_the_path() -> None:
    register("x", Opaque, to_plain=raising, from_plain=raising)
    with pytest.raises(UnserializableAttribute) as caught:
        encode("cart", {"lines": [Opaque(1)]})
    assert caught.value.path == "cart.lines[0]"
    assert caught.value.problem == f"{__name__}.Opaque (its to_plain raised ValueError)"
    assert isinstance(caught.value.__cause__, ValueError)


@pytest.mark.parametrize(
    ("plain", "path", "problem"),
    [
        (1j, "cart[0]", f"{__name__}.Opaque (its plain form holds complex)"),
        (2**63, "cart[0]", f"{__name__}.Opaque (its plain form holds int of more than 64 bits)"),
        ({"a": [1j]}, "cart[0].a[0]", "complex"),
        ({True: 1}, "cart[0]", "a key of type bool"),
    ],
)
def test_what_to_plain_returns_is_checked(plain: Any, path: str, problem: str) -> None:
    register("x", Opaque, to_plain=lambda _: plain, from_plain=raising)
    with pytest.raises(UnserializableAttribute) as caught:
        encode("cart", [Opaque(1)])
    assert (caught.value.path, caught.value.problem) == (path, problem)


def test_to_plain_may_not_return_the_object_itself() -> None:
    class Safe(str):
        def __str__(self) -> str:
            return self

    register("safe", Safe, to_plain=str, from_plain=Safe)
    with pytest.raises(
        UnserializableAttribute, match=r"Safe \(its to_plain returned the object its"
    ):
        encode("x", [Safe("a")])
    register("safe", Safe, to_plain=str.__str__, from_plain=Safe)
    assert type(back(Safe("a"))) is Safe


def test_to_plain_is_asked_once() -> None:
    asked: list[int] = []

    def to_plain(value: Opaque) -> Any:
        asked.append(value.n)
        return [] if len(asked) == 1 else raising()

    register("x", Opaque, to_plain=to_plain, from_plain=lambda _: Opaque(1))
    encode("x", Opaque(1))
    assert asked == [1]


@pytest.mark.parametrize(
    ("from_plain", "said"),
    [(raising, "ValueError"), (lambda _: 1, "returned int"), (lambda _: Line("a"), "Line")],
)
def test_what_from_plain_raises_is_an_error_of_this_value(from_plain: Any, said: str) -> None:
    register("x", Opaque, to_plain=vars, from_plain=from_plain)
    with pytest.raises(WireError, match=said) as caught:
        back(Opaque(1))
    assert "secret" not in str(caught.value)


def test_an_older_version_is_upgraded_at_once_to_this_one() -> None:
    def upgrade(plain: Any, version: int) -> Any:
        if version == 1:
            plain = {"n": plain}
        return {**plain, "upgraded_from": version}

    @dataclass
    class Counted:
        n: int
        upgraded_from: int = 0

    register("x", Counted, version=3, upgrade=upgrade)
    assert restored("x", 1, 5) == Counted(5, 1)
    assert restored("x", 2, {"n": 5}) == Counted(5, 2)
    assert restored("x", 3, {"n": 5}) == Counted(5, 0)
    with pytest.raises(WireError, match="'x' has version 4, known here is 3"):
        restored("x", 4, {"n": 5})
    register("x", Counted, version=3)
    with pytest.raises(WireError, match="'x' has version 2, and no upgrade function"):
        restored("x", 2, {"n": 5})
    register("x", Counted, version=3, upgrade=raising)
    with pytest.raises(WireError, match="'x' of version 2 fails: ValueError"):
        restored("x", 2, {"n": 5})


def test_what_is_known_to_be_immutable_is_not_watched() -> None:
    register("x", Opaque, to_plain=vars, from_plain=raising)
    assert mutable(Opaque(1))
    register("x", Opaque, to_plain=vars, from_plain=raising, immutable=True)
    assert not mutable(Opaque(1))

    @register("frozen", to_plain=lambda it: it.n, from_plain=lambda plain: Frozen(plain))
    @dataclass(frozen=True)
    class Frozen:
        n: int
        others: list[int] = field(default_factory=list)

    assert mutable(Frozen(1)), "its plain form may hold what its fields do not"
    assert not mutable(Price(1)) and mutable(Price([]))


def test_nothing_is_known_of_an_enum_that_was_not_registered() -> None:
    class Unknown(enum.Enum):
        A = 1

    with pytest.raises(UnserializableAttribute, match="an Enum that is not registered"):
        encode("x", Unknown.A)
    assert dataclasses.is_dataclass(Plain)
    with pytest.raises(UnserializableAttribute, match="Plain"):
        encode("x", Plain())
