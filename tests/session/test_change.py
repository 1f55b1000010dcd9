"""Changes: a request's writes, before they have a stamp."""

from __future__ import annotations

import pytest

from replsession.session.change import Change
from replsession.session.flashes import Flash
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


def test_what_was_counted_and_flashed_makes_a_difference_and_is_no_write() -> None:
    change = Change(KEY, {})
    flash = Flash(b"12345678", "info", b"\x01")
    assert (change.increments, change.flashed, change.popped) == ({}, (), ())
    for other in (
        Change(KEY, {}, increments={"hits": 1}),
        Change(KEY, {}, flashed=(flash,)),
        Change(KEY, {}, popped=(flash.id,)),
    ):
        assert other != change
        assert other.writes == {}
