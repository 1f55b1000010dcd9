"""Remarks on requests: one line of each, at its level, and never an id."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

from replsession.channel.repeats import Repeats
from replsession.errors import ReplicationTimeout
from replsession.metrics import Metrics
from replsession.web import remarks

PATH = "/cart;JSESSIONID=9AB3F2C1D4E5F607"
HIDDEN = "/cart;JSESSIONID="
TOO_FEW = ReplicationTimeout("all", 2, ("left",), ("right",))


@pytest.mark.parametrize(
    ("remark", "logger", "level", "says"),
    [
        (
            lambda repeats: remarks.too_few_hold_it(repeats, PATH, TOO_FEW),
            "sender",
            logging.WARNING,
            f"A response to '{HIDDEN}",
        ),
        (
            lambda repeats: remarks.begun_too_late(repeats, PATH),
            "manager",
            logging.WARNING,
            f"A session was begun after the response to '{HIDDEN}",
        ),
        (
            lambda repeats: remarks.written_on_filtered_path(repeats, PATH),
            "valve",
            logging.INFO,
            f"A session was written on a path that the valve filters: '{HIDDEN}",
        ),
        (
            lambda repeats: remarks.listener_failed(repeats, "Basket", "session_created"),
            "listeners",
            logging.ERROR,
            "Listener Basket failed in session_created",
        ),
        (
            remarks.not_committed,
            "manager",
            logging.ERROR,
            "A session could not be committed after its response had started",
        ),
    ],
)
def test_each_is_told_once_and_without_an_id(
    remark: Callable[[Repeats], None],
    logger: str,
    level: int,
    says: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "replsession")
    repeats = Repeats(Metrics())
    for _ in range(3):
        try:
            raise ValueError("of the application")
        except ValueError:
            remark(repeats)

    (record,) = caplog.records
    assert (record.name, record.levelno) == (f"replsession.{logger}", level)
    assert record.getMessage().startswith(says)
    assert "9AB3" not in caplog.text
    assert bool(record.exc_info) is (level == logging.ERROR)
