"""The page about values: its examples run, and what it says of them is so."""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from replsession import UnserializableAttribute
from replsession.session import registry
from replsession.session.codec import decode, encode
from tests.session.world import World

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "values.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


@pytest.fixture(autouse=True)
def _own_registry() -> Any:
    # The shop of the other tests has the same names as the one on the page.
    names, classes = dict(registry.by_name), dict(registry.by_class)
    registry.by_name.clear()
    registry.by_class.clear()
    yield
    registry.by_name.clear()
    registry.by_name.update(names)
    registry.by_class.clear()
    registry.by_class.update(classes)


def run(block: str) -> dict[str, Any]:
    """Run an example as a module of its own, and return its names."""
    names: dict[str, Any] = {"__name__": __name__}
    exec(compile(block, "docs/values.md", "exec", dont_inherit=True), names)
    return names


def back(value: Any) -> Any:
    return decode(encode("x", value))


def test_the_page_has_three_examples() -> None:
    assert len(BLOCKS) == 3


def test_the_types_of_the_first_example_are_kept_and_watched() -> None:
    names = run(BLOCKS[0])
    (assignment,) = re.findall(r"^# in a view: (.*)$", BLOCKS[0], re.MULTILINE)
    world = World()
    session = world.new_session()
    exec(assignment, {**names, "session": session})
    world.apply(session)
    session["cart"].lines[0].n += 1
    (change,) = world.apply(session)
    data = change.writes["cart"]
    assert data is not None
    assert decode(data) == names["Cart"]([names["Line"]("A-1", 2, names["Decimal"]("9.90"))])
    assert back(names["Size"].LARGE) is names["Size"].LARGE


def test_the_functions_of_the_second_example_are_used() -> None:
    names = run(BLOCKS[1])
    point = back(names["Point"](1, 2))
    assert (type(point), point.x, point.y) == (names["Point"], 1, 2)
    counter = names["collections"].Counter("abca")
    assert back(counter) == counter and type(back(counter)) is type(counter)
    assert back([1 + 2j]) == [1 + 2j]


def test_the_upgrade_of_the_third_example_reads_every_version() -> None:
    order = run(BLOCKS[2])["Order"]
    first = {"lines": [{"sku": "a", "n": 2}]}
    assert registry.restored("shop.order", 1, first) == order({"a": 2})
    assert registry.restored("shop.order", 2, {"lines": {"a": 2}}) == order({"a": 2})
    assert back(order({"a": 2}, "USD")) == order({"a": 2}, "USD")


def test_the_error_is_the_one_on_the_page() -> None:
    with pytest.raises(UnserializableAttribute) as caught:
        encode("cart", [1, 2, 3, {"price": Fraction(1, 2)}])
    assert f"\n{caught.value}\n" in PAGE
