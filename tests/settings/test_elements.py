"""What an element of Tomcat's may be."""

from __future__ import annotations

import pytest

from replsession.settings.elements import NO_MEANING, NOT_SUPPORTED, none, only


def test_attributes_without_an_effect_are_made_together() -> None:
    made = none(NO_MEANING, "why", "a", "b")
    assert list(made) == ["a", "b"]
    assert {(each.verdict, each.says, each.read) for each in made.values()} == {
        (NO_MEANING, "why", None)
    }


def test_what_is_so_anyway_may_be_said_and_nothing_else() -> None:
    attribute = only("why", "-1", "-1")
    assert attribute.verdict == NOT_SUPPORTED
    assert attribute.read is not None
    assert attribute.read("-1") == {}
    with pytest.raises(ValueError):
        attribute.read("1000")
