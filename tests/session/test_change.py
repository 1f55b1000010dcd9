"""Changes: a request's writes, before they have a stamp."""

from __future__ import annotations

import pytest

from replsession.session.change import Change
from tests.strategies import KEY


def test_a_change_goes_to_a_session_that_exists_and_goes_on() -> None:
    change = Change(KEY, {"a": b"\x01", "b": None})

    assert (change.birth, change.destroy) == (False, False)
    assert change.writes == {"a": b"\x01", "b": None}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Change(KEY, {}), Change(KEY, {}, birth=True)),
        (Change(KEY, {}), Change(KEY, {}, destroy=True)),
        (Change(KEY, {"a": None}), Change(KEY, {"a": b"\xf6"})),
    ],
)
def test_birth_end_and_removal_make_a_difference(one: Change, other: Change) -> None:
    assert one != other
