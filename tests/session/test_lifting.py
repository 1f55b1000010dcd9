"""From the tree of the bytes to the value: the way back, its bounds, and when objects are made."""

from __future__ import annotations

from typing import Any

import pytest
from cbor2 import CBORTag, frozendict
from hypothesis import HealthCheck, given, settings

from replsession import register
from replsession.config import Limits
from replsession.errors import WireError
from replsession.session import format as fmt
from replsession.session.lifting import lift
from replsession.session.lowering import lower
from tests.session.shop import Colour, Point, Price, Tag, same
from tests.session.test_lowering import MAKERS, TREES, nested, of_type
from tests.strategies import session_values


@pytest.mark.parametrize(("value", "tree"), TREES, ids=lambda value: repr(value)[:30])
def test_the_value_of_a_tree(value: Any, tree: Any) -> None:
    assert same(lift(tree), value)


@given(session_values)
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_it_is_the_way_back(value: Any) -> None:
    assert same(lift(lower("x", value, Limits())), value)


def test_what_cbor2_reads_under_a_tag_is_taken_for_what_it_was() -> None:
    tree = CBORTag(fmt.TUPLE, (frozendict({"a": (1, 2)}),))
    assert same(lift(tree), ({"a": [1, 2]},))


@pytest.mark.parametrize("make", MAKERS)
def test_what_is_lowered_at_the_bounds_is_lifted(make: Any) -> None:
    deepest = nested(32, make)
    assert lift(lower("x", deepest, Limits())) == deepest
    # Each of them has one item or two, and is one.
    widest = tuple(make(n) for n in range(3_333))
    assert lift(lower("x", widest, Limits())) == widest


DEEPER = [
    nested(33, lambda tree: CBORTag(fmt.TUPLE, [tree])),
    nested(33, lambda tree: CBORTag(fmt.MIXED_DICT, [1, tree])),
    nested(33, lambda tree: of_type("shop.point", [tree, 1])),
    nested(33, lambda tree: of_type("shop.slug", tree)),
    nested(33, lambda tree: [tree]),
]


@pytest.mark.parametrize("tree", DEEPER, ids=range(len(DEEPER)))
def test_depth_is_bounded(tree: Any) -> None:
    with pytest.raises(WireError, match="nested deeper than 32 levels"):
        lift(tree)


@pytest.mark.parametrize(
    "tree",
    [
        CBORTag(fmt.TUPLE, [None] * 10_001),
        CBORTag(fmt.MIXED_DICT, [each for n in range(10_001) for each in (n, None)]),
        [CBORTag(fmt.SET, [*range(5_000)]), [*range(4_999)]],
        of_type("shop.point", [None] * 10_001),
    ],
    ids=range(4),
)
def test_items_are_bounded(tree: Any) -> None:
    with pytest.raises(WireError, match="more than 10000 items"):
        lift(tree)


@pytest.mark.usefixtures("own_registry")
def test_no_object_is_made_before_all_is_known_to_be_well() -> None:
    made: list[Any] = []

    class Made:
        pass

    def from_plain(plain: Any) -> Made:
        made.append(plain)
        return Made()

    register("made", Made, to_plain=vars, from_plain=from_plain)
    wrong = [
        [of_type("made", 1), CBORTag(99, 1)],
        [of_type("made", 1), CBORTag(fmt.DATE, 0)],
        [of_type("made", 1), nested(33, lambda tree: [tree])],
        [of_type("made", 1), [None] * 10_000],
        [of_type("made", 1), 2**63],
        [of_type("made", 1), of_type("a" * 65, 1)],
    ]
    for tree in wrong:
        with pytest.raises(WireError):
            lift(tree)
    assert made == []
    lift([of_type("made", 1)])
    assert made == [1]


def test_inner_objects_are_made_first() -> None:
    tree = of_type(
        "shop.price", {"amount": of_type("shop.point", [1, of_type("shop.colour", "RED")])}
    )
    assert lift(tree) == Price(Point(1, Colour.RED))


def test_objects_that_are_two_may_be_equal_here() -> None:
    tags = lift(CBORTag(fmt.SET, [of_type("shop.tag", ["a"]), of_type("shop.tag", ["a"])]))
    assert len(tags) == 2 and all(type(tag) is Tag for tag in tags)
    prices = lift(CBORTag(fmt.SET, [of_type("shop.price", {"amount": 1})] * 2))
    assert prices == {Price(1)}
