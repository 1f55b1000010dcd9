"""Checks: each returns what it was given, or says what was expected."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from replsession.errors import WireError
from replsession.identity import Key
from replsession.session.stamp import HLC_MAX
from replsession.wire import checks

ID, LOCATOR = b"memberid", bytes(12)
NOT_INTEGERS: list[Any] = [None, True, False, 1.0, math.nan, "1", b"1", [1], {}, 1j]
NOT_BYTES: list[Any] = [None, True, 8, "memberid", [1] * 8, bytearray(b"memberid")]
NOT_ARRAYS: list[Any] = [None, True, 2, "ab", b"ab", (1, 2), {0: 1, 1: 2}]
NOT_TEXTS: list[Any] = [None, True, 8, b"text", ["t"], {}]


@pytest.mark.parametrize(
    ("check", "value"),
    [
        *((checks.count, value) for value in (0, 1, 23, 24, 2**63, 2**64 - 1)),
        *((checks.hlc, value) for value in (0, 1, 2**63, HLC_MAX - 1)),
        *((checks.port, value) for value in (1, 80, 65535)),
        *((checks.boolean, value) for value in (True, False)),
        *((checks.text, value) for value in ("", "é", "x" * 256)),
        (checks.member_id, ID),
        (checks.locator, LOCATOR),
        *((checks.octets, value) for value in (b"", b"x" * 10_000)),
        (lambda value: checks.octets(value, exactly=3), b"abc"),
        (lambda value: checks.octets(value, most=3), b"abc"),
        (lambda value: checks.text(value, 3), "éèê"),
        (lambda value: checks.below(value, 3), 2),
        (lambda value: checks.array(value, 0), []),
        (lambda value: checks.array(value, 2), [1, [2]]),
    ],
)
def test_what_is_right_comes_back(check: Callable[[Any], Any], value: Any) -> None:
    assert check(value) is value


WRONG: list[tuple[Callable[[Any], Any], list[Any]]] = [
    (checks.count, [*NOT_INTEGERS, -1, 2**64]),
    (lambda value: checks.below(value, 3), [*NOT_INTEGERS, -1, 3, 2**64]),
    (checks.hlc, [*NOT_INTEGERS, -1, HLC_MAX, 2**64 - 1, 2**64]),
    (checks.port, [*NOT_INTEGERS, -1, 0, 65536, 2**64]),
    (checks.boolean, [None, 0, 1, "true", b"", []]),
    (checks.text, [*NOT_TEXTS, "x" * 257]),
    (checks.member_id, [*NOT_BYTES, b"", b"1234567", b"123456789"]),
    (checks.locator, [*NOT_BYTES, b"", bytes(11), bytes(13)]),
    (checks.octets, NOT_BYTES),
    (lambda value: checks.octets(value, exactly=3), [b"abcd", b"ab"]),
    (lambda value: checks.octets(value, most=3), [b"abcd"]),
    (lambda value: checks.text(value, 3), ["abcd"]),
    (lambda value: checks.array(value, 2), [*NOT_ARRAYS, [], [1], [1] * 3]),
    (lambda value: checks.item_of(value, 1), [*NOT_ARRAYS, [], [1]]),
    (lambda value: checks.rows(value, 2), [*NOT_ARRAYS, [1], [1] * 3]),
    (lambda value: checks.key_at([value, LOCATOR]), NOT_TEXTS),
    (lambda value: checks.key_at(["/", value]), [*NOT_BYTES, b"short"]),
]


@pytest.mark.parametrize(
    ("check", "value"), [(check, value) for check, values in WRONG for value in values]
)
def test_what_is_wrong_is_a_wire_error(check: Callable[[Any], Any], value: Any) -> None:
    with pytest.raises(WireError):
        check(value)


def test_what_is_wrong_is_not_repeated_in_the_error() -> None:
    with pytest.raises(WireError) as caught:
        checks.octets(b"a secret value", exactly=3)
    assert "secret" not in str(caught.value)


def test_an_item_of_an_array_that_has_more() -> None:
    assert checks.item_of([5, 6, 7], 1) == 6


def test_rows_of_a_flat_array() -> None:
    assert list(checks.rows([1, 2, 3, 4, 5, 6], 3)) == [[1, 2, 3], [4, 5, 6]]
    assert list(checks.rows([], 3)) == []


def test_a_key_is_made_of_two_columns() -> None:
    assert checks.key_at(["/shop", LOCATOR, 1]) == Key("/shop", LOCATOR)
