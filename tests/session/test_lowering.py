"""The tree of what cbor2 may be given: what it is made of, its bounds, and the order of sets."""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import Any

import cbor2
import pytest
from cbor2 import CBORTag
from hypothesis import HealthCheck, given, settings

from replsession.config import Limits
from replsession.errors import SessionTooLarge, UnserializableAttribute
from replsession.session import format as fmt
from replsession.session.lowering import lower
from tests.session.shop import Cart, Colour, Line, Permission, Point, Price
from tests.strategies import session_values

LIMITS = Limits()


def of_type(name: str, plain: Any) -> CBORTag:
    return CBORTag(fmt.REGISTERED, [name, 1, plain])


TREES: list[tuple[Any, Any]] = [
    (1, 1),
    ([1, ["a"]], [1, ["a"]]),
    ({"a": {"b": None}}, {"a": {"b": None}}),
    ((), CBORTag(fmt.TUPLE, [])),
    ([(1, [2])], [CBORTag(fmt.TUPLE, [1, [2]])]),
    ({3, 1, "a", -1, 2}, CBORTag(fmt.SET, [1, 2, 3, -1, "a"])),
    (
        frozenset({frozenset({2, 1}), 9}),
        CBORTag(fmt.FROZENSET, [9, CBORTag(fmt.FROZENSET, [1, 2])]),
    ),
    (
        {2: "a", "b": 1, 1: {"k": ()}},
        CBORTag(fmt.MIXED_DICT, [2, "a", "b", 1, 1, {"k": CBORTag(fmt.TUPLE, [])}]),
    ),
    (Colour.RED, of_type("shop.colour", "RED")),
    (Permission.READ | Permission.OWN, of_type("shop.permission", 5)),
    (Point(1, [2]), of_type("shop.point", [1, [2]])),
    (
        Cart([Line("a")]),
        of_type(
            "shop.cart",
            {
                "lines": [
                    of_type(
                        "shop.line",
                        {"sku": "a", "n": 1, "price": CBORTag(fmt.DECIMAL, "0.00")},
                    )
                ],
                "colours": CBORTag(fmt.SET, []),
                "notes": None,
                "lines_at_start": 1,
            },
        ),
    ),
]


@pytest.mark.parametrize(("value", "tree"), TREES, ids=lambda value: repr(value)[:30])
def test_the_tree_of_a_value(value: Any, tree: Any) -> None:
    # Compared as bytes too: to CBOR, 1 and True differ, and dicts in another order.
    lowered = lower("x", value, LIMITS)
    assert lowered == tree
    assert cbor2.dumps(lowered) == cbor2.dumps(tree)


@given(session_values)
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_sets_are_in_the_order_of_their_bytes_at_any_depth(value: Any) -> None:
    def look(tree: Any) -> None:
        if isinstance(tree, CBORTag):
            if tree.tag in (fmt.SET, fmt.FROZENSET):
                encoded = [cbor2.dumps(item) for item in tree.value]
                assert encoded == sorted(encoded)
            look(tree.value)
        elif isinstance(tree, list | dict):
            for item in tree.values() if isinstance(tree, dict) else tree:
                look(item)

    look(lower("x", value, LIMITS))


def test_inner_sets_are_in_order_before_outer_ones() -> None:
    # Python goes through the first one as 8, 1: it would stand behind the other by that.
    lowered = lower("x", {frozenset({8, 1}), frozenset({2, 3})}, LIMITS)
    assert [inner.value for inner in lowered.value] == [[1, 8], [2, 3]]


def test_the_tree_shares_nothing_that_can_change() -> None:
    value: Any = ([1], {"a": [2]})
    lowered = lower("x", value, LIMITS)
    value[0].append(2)
    value[1]["a"].clear()
    assert lowered == CBORTag(fmt.TUPLE, [[1], {"a": [2]}])


def nested(depth: int, make: Any) -> Any:
    value: Any = 0
    for _ in range(depth):
        value = make(value)
    return value


MAKERS = [
    *(lambda value: (value,), lambda value: {1: value}, lambda value: frozenset([value])),
    *(lambda value: Point(value, 1), Price),
]


@pytest.mark.parametrize("make", MAKERS)
def test_an_object_and_its_plain_form_are_one_level(make: Any) -> None:
    lower("x", nested(32, make), LIMITS)
    with pytest.raises(UnserializableAttribute, match="nested deeper than 32 levels"):
        lower("x", nested(33, make), LIMITS)
    with pytest.raises(UnserializableAttribute, match="nested deeper than 3 levels"):
        lower("x", nested(4, make), Limits(value_depth_max=3))


@pytest.mark.parametrize(
    ("value", "count"),
    [
        ((1, 2, 3), 3),
        ({1: 1, "a": (1, 2)}, 4),
        ({1, (2, 3)}, 4),
        ([Price(1), Price(2)], 6),
        (Point(1, Point(1, 2)), 4),
        ([datetime.date(2026, 1, 1), Decimal(1)], 2),
    ],
)
def test_items_are_those_of_containers_and_plain_forms(value: Any, count: int) -> None:
    lower("x", value, Limits(value_items_max=count))
    with pytest.raises(UnserializableAttribute, match=f"more than {count - 1} items"):
        lower("x", value, Limits(value_items_max=count - 1))


@pytest.mark.parametrize(
    "value",
    [
        "x" * 101,
        b"x" * 101,
        ("x" * 50, "y" * 51),
        {1: "x" * 101},
        {"k" * 101: 1, 1: 1},
        Decimal("1" * 101),
        Price("x" * 101),
        {"x" * 50, "y" * 51},
    ],
    ids=lambda value: repr(value)[:10],
)
def test_texts_are_measured_before_they_are_encoded(value: Any) -> None:
    with pytest.raises(SessionTooLarge, match="or more; at most 100"):
        lower("x", value, Limits(value_bytes_max=100))
    lower("x", value, LIMITS)
