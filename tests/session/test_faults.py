"""What is wrong with a value, and where, in words."""

from __future__ import annotations

import collections
import datetime
import decimal
import enum
from typing import Any

import pytest

from replsession.config import Limits
from replsession.errors import SessionTooLarge
from replsession.session.faults import (
    Place,
    check_text_size,
    encodable,
    path_of,
    problem_of,
    problem_of_key,
    shortened,
    type_name,
)


class Unregistered(enum.Enum):
    A = 1


def place_of(*containers: Any) -> Place | None:
    """Return the place of the last of some containers, each inside the one before."""
    place: Place | None = None
    for container in containers:
        place = Place(container, place, container)
    return place


def test_a_path_has_a_step_for_each_container() -> None:
    item = object()
    row = {"price": item}
    rows = (0, row)
    assert path_of("cart", None, item) == "cart"
    assert path_of("cart", place_of([rows], rows, row), item) == "cart[0][1].price"
    assert path_of("cart", place_of({3: rows}, rows, row), item) == "cart[3][1].price"
    assert path_of("cart", place_of({"two words": rows}, rows), row) == 'cart["two words"][1]'
    assert path_of("cart", place_of({item}), item) == "cart{…}"


def test_what_stands_for_an_object_is_no_step() -> None:
    item, thing = object(), object()
    outer = place_of([thing])
    assert path_of("cart", Place({"n": item}, outer, thing), item) == "cart[0].n"


def test_a_path_is_found_by_identity() -> None:
    item = 1.0
    assert path_of("x", place_of([1, True, item]), item) == "x[2]"


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        *((value, None) for value in (None, True, 1, -(2**63), 1.5, "é", b"x")),
        (2**63, "int of more than 64 bits"),
        ("\ud800", "str with a lone surrogate"),
        (1j, "complex"),
        (Unregistered.A, f"{__name__}.Unregistered (an Enum that is not registered)"),
        (collections.Counter(), "collections.Counter (it would come back as dict)"),
        (type("S", (set,), {})(), "tests.session.test_faults.S (it would come back as set)"),
        (
            type("D", (datetime.datetime,), {})(2026, 1, 1),
            "tests.session.test_faults.D (it would come back as datetime)",
        ),
        (
            type("M", (decimal.Decimal,), {})(1),
            "tests.session.test_faults.M (it would come back as Decimal)",
        ),
    ],
)
def test_the_problem_of_a_value(value: Any, problem: str | None) -> None:
    assert problem_of(value) == problem


@pytest.mark.parametrize(
    ("key", "problem"),
    [
        *((key, None) for key in ("", "é", 0, -1, 2**63 - 1)),
        (True, "a key of type bool"),
        (1.0, "a key of type float"),
        (b"x", "a key of type bytes"),
        (2**63, "a key that is an int of more than 64 bits"),
        ("\ud800", "a key with a lone surrogate"),
    ],
)
def test_the_problem_of_a_key(key: Any, problem: str | None) -> None:
    assert problem_of_key(key) == problem


def test_texts_are_measured() -> None:
    assert encodable("漢") and not encodable("\udfff")
    assert shortened("x" * 40) == "x" * 40
    assert shortened("x" * 41) == "x" * 40 + "…"
    limits = Limits(value_bytes_max=10)
    check_text_size("x", 10, limits)
    with pytest.raises(SessionTooLarge, match="'x' has 11 bytes or more"):
        check_text_size("x", 11, limits)


def test_types_have_the_name_that_one_imports() -> None:
    assert type_name(int) == "int"
    assert type_name(decimal.Decimal) == "decimal.Decimal"
