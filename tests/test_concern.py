"""Write concerns: what may be asked for, and how many other members it takes, as a table."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replsession.concern import (
    CONCERNS,
    MEMBERS_MAX,
    NOTHING_ASKED,
    TIMEOUT_MAX_S,
    Asked,
    Concern,
    check_concern,
    others_needed,
)
from replsession.errors import ConfigError

counts = st.integers(0, 40)
expectations = st.none() | st.integers(1, 40)


def needed(
    concern: Concern, *, known: int = 0, up: int = 0, expected_members: int | None = None
) -> int:
    """How many others must hold a write."""
    return others_needed(Asked(concern, 1.0, expected_members), known, up)


def test_the_names_of_the_concerns() -> None:
    assert CONCERNS == get_args(Concern) == ("async", "one", "majority", "all")
    assert NOTHING_ASKED.concern == "async"


@pytest.mark.parametrize(
    ("known", "members", "others"),
    [(0, 1, 0), (1, 2, 1), (2, 3, 1), (3, 4, 2), (4, 5, 2), (5, 6, 3), (9, 10, 5)],
)
def test_a_majority_is_more_than_half_of_all_who_were_seen(
    known: int, members: int, others: int
) -> None:
    assert needed("majority", known=known, up=0) == others
    assert others + 1 > members / 2
    assert others <= members / 2


@pytest.mark.parametrize(
    ("known", "expected_members", "others"),
    [(0, 1, 0), (0, 2, 1), (0, 3, 1), (1, 3, 1), (2, 3, 1), (3, 3, 2), (0, 5, 2), (4, 2, 2)],
)
def test_a_majority_is_at_least_one_of_the_members_expected(
    known: int, expected_members: int, others: int
) -> None:
    assert needed("majority", known=known, up=0, expected_members=expected_members) == others


@pytest.mark.parametrize(
    ("up", "expected_members", "others"),
    [(0, None, 0), (1, None, 1), (4, None, 4), (0, 3, 2), (1, 3, 2), (4, 3, 4), (0, 1, 0)],
)
def test_all_are_those_who_are_up_and_at_least_those_expected(
    up: int, expected_members: int | None, others: int
) -> None:
    assert needed("all", known=7, up=up, expected_members=expected_members) == others


@given(counts, counts, expectations)
def test_one_is_one_and_async_is_nobody(known: int, up: int, expected: int | None) -> None:
    assert needed("one", known=known, up=up, expected_members=expected) == 1
    assert needed("async", known=known, up=up, expected_members=expected) == 0


@given(st.integers(1, 40), st.data(), expectations)
def test_two_parts_of_a_cluster_never_both_have_a_majority(
    members: int, data: st.DataObject, expected: int | None
) -> None:
    part = data.draw(st.integers(0, members))
    # Each side goes on to count all names it has seen.
    others = needed("majority", known=members - 1, expected_members=expected)

    assert not (part > others and members - part > others)


@given(counts, counts, expectations)
def test_who_vanishes_does_not_make_a_majority_easier(
    known: int, up: int, expected: int | None
) -> None:
    everybody = needed("majority", known=known, up=known, expected_members=expected)

    assert needed("majority", known=known, up=up, expected_members=expected) == everybody


@pytest.mark.parametrize("concern", CONCERNS)
@pytest.mark.parametrize("timeout_s", [0.001, 1, 1.0, TIMEOUT_MAX_S])
@pytest.mark.parametrize("expected_members", [None, 1, 3, MEMBERS_MAX])
def test_what_may_be_asked_for(
    concern: Concern, timeout_s: float, expected_members: int | None
) -> None:
    asked = check_concern(concern, timeout_s, expected_members)

    assert asked == Asked(concern, float(timeout_s), expected_members)
    assert type(asked.timeout_s) is float


@pytest.mark.parametrize("given_", ["", "All", "two", None, 1, True, b"all", ["all"]])
def test_a_concern_that_is_none(given_: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        check_concern(given_, 1.0, None)

    assert (caught.value.field, caught.value.given) == ("concern", given_)
    assert "'async', 'one', 'majority', 'all'" in str(caught.value)


@pytest.mark.parametrize(
    "given_", [0, -1, 60.1, float("inf"), float("nan"), "1", None, True, [1], 10**9]
)
def test_a_time_out_that_is_none(given_: Any) -> None:
    with pytest.raises(
        ConfigError, match=r"ack_timeout_s: got .* allowed: seconds above 0"
    ) as caught:
        check_concern("all", given_, None)

    assert caught.value.field == "ack_timeout_s"


@pytest.mark.parametrize("given_", [0, -1, 1.0, 2.5, "3", True, MEMBERS_MAX + 1, [3]])
def test_a_number_of_members_that_is_none(given_: Any) -> None:
    with pytest.raises(ConfigError, match=r"expected_members: got .* allowed: 1 to 1000") as caught:
        check_concern("all", 1.0, given_)

    assert (caught.value.field, caught.value.given) == ("expected_members", given_)
