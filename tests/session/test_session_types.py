"""Sessions with all types: changes in place are found, and what is only read is not written."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from replsession import register
from replsession.identity import Key
from replsession.session import registry
from replsession.session.codec import decode, encode
from replsession.session.record import Values
from replsession.session.session import Session
from tests.session.shop import Cart, Colour, Line, Point, Price, Slug, Tag, described, same
from tests.session.world import World
from tests.strategies import session_values


def next_request(world: World) -> Session:
    """Return the session of the next request, over what is kept of the only one."""
    ((key, values),) = world.records.items()
    found = world.found_bytes({})
    del world.records[found.identity.key]
    identity = found.identity._replace(key=key)
    return Session.attached(world, found._replace(identity=identity, values=Values(values)))


def kept(world: World, name: str) -> Any:
    ((_, values),) = world.records.items()
    return decode(values[name])


CHANGES: list[tuple[str, Any, Callable[[Any], Any]]] = [
    ("a set", {1}, lambda value: value.add(2)),
    ("a set in a tuple", ({1},), lambda value: value[0].add(2)),
    ("a dict with int keys", {1: 1}, lambda value: value.update({2: 2})),
    ("the order of such a dict", {1: 1, 2: 2}, lambda value: value.update({1: value.pop(1)})),
    ("a list in tuples", ((([],),),), lambda value: value[0][0][0].append(1)),
    ("a field", Line("a"), lambda value: setattr(value, "n", 2)),
    ("a field of an item", [Line("a")], lambda value: setattr(value[0], "n", 2)),
    ("deep", Cart([Line("a")]), lambda value: setattr(value.lines[0], "n", 2)),
    ("a set of members", Cart(), lambda value: value.colours.add(Colour.RED)),
    ("what a frozen one holds", Price([1]), lambda value: value.amount.append(2)),
    ("in a set", {Tag("a")}, lambda value: setattr(next(iter(value)), "text", "b")),
    ("a named tuple of lists", Point([], 1), lambda value: value.x.append(1)),
    ("a Decimal", {"price": Decimal("1.5")}, lambda value: value.update(price=Decimal("1.50"))),
    ("the type of a key", {1: 1, "a": 1}, lambda value: value.update({"1": value.pop(1)})),
]


@pytest.mark.parametrize(
    ("value", "change"), [row[1:] for row in CHANGES], ids=[r[0] for r in CHANGES]
)
def test_a_change_in_place_is_found_and_kept(value: Any, change: Callable[[Any], Any]) -> None:
    world = World()
    session = world.new_session()
    session["x"] = expected = copy.deepcopy(value)
    world.apply(session)
    change(session["x"])
    (written,) = world.apply(session)
    assert [*written.writes] == ["x"], "after the first commit of the request that assigned it"
    assert same(kept(world, "x"), expected)

    second = next_request(world)
    assert same(second["x"], expected)
    assert second.seal() == ()

    world = World()
    first = world.session(x=value, other=1)
    change(first["x"])
    (written,) = world.apply(first)
    assert [*written.writes] == ["x"]
    assert same(kept(world, "x"), expected)
    assert first.seal() == ()


@given(st.dictionaries(st.text("abc", min_size=1), session_values, min_size=1, max_size=4))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_what_was_only_read_is_not_written(values: dict[str, Any]) -> None:
    world = World()
    session = world.session(**values)
    assert described([*session.values()]) == described([*values.values()])
    assert session.seal() == ()
    for name in values:
        session[name] = session[name]
    assert session.seal() == ()


def test_a_str_of_another_class_is_itself_at_the_top_and_inside() -> None:
    session = World().session(a=Slug("x"), b=[Slug("y")], c={"k": (Slug("z"),)})
    assert [type(session["a"]), type(session["b"][0]), type(session["c"]["k"][0])] == [Slug] * 3
    session["a"] = "x"
    (change,) = session.seal()
    assert change.writes == {"a": encode("a", "x")}, "equal, and of another type"


def test_an_attribute_that_is_not_read_is_not_made() -> None:
    world = World()
    data = encode("x", Line("a"))
    session = Session.attached(world, world.found_bytes({"x": data, "n": b"\x01"}))
    session["n"] = 2
    (change,) = session.seal()
    assert change.writes == {"n": b"\x02"}


UNKNOWN = bytes.fromhex("d9c00b8367756e6b6e6f776e01f6")
NEWER = bytes.fromhex("d9c00b83" + "6b73686f702e636f6c6f7572" + "02" + "63524544")


@pytest.mark.parametrize("data", [UNKNOWN, NEWER], ids=["unknown", "newer"])
def test_an_attribute_of_a_type_unknown_here_is_isolated(data: bytes) -> None:
    world = World()
    session = Session.attached(world, world.found_bytes({"x": data, "n": b"\x01"}))
    assert dict(session) == {"n": 1}
    assert [name for _, name in world.undecodables] == ["x"]
    session["n"] = 2
    world.apply(session)
    ((_, values),) = world.records.items()
    assert values == {"x": data, "n": b"\x02"}, "its bytes stay, for members that know the type"


# A rolling deploy: two releases of one application, on members of one cluster.


def old_release() -> type:
    """What a member of the old release has registered."""

    @dataclass
    class Basket:
        items: list[str] = field(default_factory=list)

    return register("basket", Basket)


def new_release() -> type:
    """The new one counts each item."""

    def upgrade(plain: Any, version: int) -> Any:
        assert version == 1
        return {"items": dict.fromkeys(plain["items"], 1)}

    @dataclass
    class Basket:
        items: dict[str, int] = field(default_factory=dict)
        currency: str = "EUR"

    Basket.__qualname__ = old_release().__qualname__
    return register("basket", Basket, version=2, upgrade=upgrade)


def newer_release() -> type:
    """It has one more field, and its author forgot to raise the version."""

    @dataclass
    class Basket:
        items: dict[str, int] = field(default_factory=dict)
        currency: str = "EUR"
        is_gift: bool = False

    Basket.__qualname__ = old_release().__qualname__
    return register("basket", Basket, version=2)


Release = Callable[[], type]


def bytes_of(release: Release, **fields: Any) -> bytes:
    return encode("basket", release()(**fields))


@pytest.mark.usefixtures("own_registry")
@pytest.mark.parametrize("releases", [(old_release, new_release), (new_release, newer_release)])
def test_members_of_two_releases_that_only_read_write_nothing(
    releases: tuple[Release, Release],
) -> None:
    old, new = releases
    found = {"basket": bytes_of(old, items={"a": 1} if old is new_release else ["a"])}
    for release in (new, old, new, old):
        release()
        world = World()
        session = Session.attached(world, world.found_bytes(found))
        assert [*session["basket"].items] == ["a"]
        assert session.seal() == ()
        # Assigned, and the same: the old members can go on reading it.
        session["basket"] = session["basket"]
        assert session.seal() == ()


@pytest.mark.usefixtures("own_registry")
def test_a_change_by_the_new_release_is_written_in_its_version() -> None:
    data = bytes_of(old_release, items=["a"])
    new = new_release()
    world = World()
    session = Session.attached(world, world.found_bytes({"basket": data, "n": b"\x01"}))
    session["basket"].items["b"] = 3
    world.apply(session)
    assert kept(world, "basket") == new({"a": 1, "b": 3})

    # Read and then changed back: written, because the old form is not there any more.
    session["basket"].items.pop("b")
    world.apply(session)
    ((key, values),) = world.records.items()
    assert values["basket"] == encode("basket", new({"a": 1}))

    old_release()
    world.undecodables.clear()
    second = next_request(world)
    assert second.get("basket") is None and second["n"] == 1
    assert second.seal() == ()
    assert [name for _, name in world.undecodables] == ["basket"]
    assert isinstance(key, Key)


@pytest.mark.usefixtures("own_registry")
def test_an_upgrade_that_fails_leaves_the_bytes_alone() -> None:
    data = bytes_of(old_release, items=["a"])

    def upgrade(plain: Any, version: int) -> Any:
        raise KeyError(plain["amount"])

    new = registry.by_name["basket"].cls
    register("basket", new, version=2, upgrade=upgrade)
    world = World()
    session = Session.attached(world, world.found_bytes({"basket": data, "n": b"\x01"}))
    assert dict(session) == {"n": 1}
    assert session.seal() == ()


def test_a_value_that_can_not_be_stored_any_more_is_named() -> None:
    session = World().session(cart=Cart([Line("a")]))
    session["cart"].lines[0].n = datetime.now
    with pytest.raises(Exception, match=r"'cart.lines\[0\].n'.*builtin_function_or_method"):
        session.seal()
