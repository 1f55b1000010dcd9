"""Counters: all there by name, all at nought, each on its own."""

from __future__ import annotations

from dataclasses import fields

import pytest

from replsession.metrics import Metrics

NAMES = [field.name for field in fields(Metrics)]


def test_nothing_has_happened_at_the_start() -> None:
    assert Metrics().as_dict() == dict.fromkeys(NAMES, 0)


@pytest.mark.parametrize("name", NAMES)
def test_a_counter_is_found_under_its_name(name: str) -> None:
    metrics = Metrics()
    setattr(metrics, name, getattr(metrics, name) + 3)

    assert metrics.as_dict() == {**dict.fromkeys(NAMES, 0), name: 3}


def test_what_was_read_does_not_grow() -> None:
    metrics = Metrics()
    before = metrics.as_dict()
    metrics.commits += 1

    assert before["commits"] == 0
    assert metrics.as_dict()["commits"] == 1


def test_a_counter_that_does_not_exist_is_not_made() -> None:
    with pytest.raises(AttributeError):
        setattr(Metrics(), "comits", 1)  # noqa: B010
