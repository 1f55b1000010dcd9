"""Repeated warnings: the first is written, the others are counted, and the count gets out."""

from __future__ import annotations

import logging
import threading

import pytest

from replsession.channel.repeats import Repeats, one_line
from replsession.config import LOG_REPEATS_MAX, LOG_REPEATS_S
from replsession.metrics import Metrics

LOGGER = logging.getLogger("replsession.tests")


class Scene:
    """Repeats with a clock that the test sets."""

    def __init__(self, *, kept_max: int = 4) -> None:
        self.now = 1000.0
        self.metrics = Metrics()
        self.repeats = Repeats(self.metrics, kept_max=kept_max, clock=lambda: self.now)

    def warn(self, about: object = "right", detail: object = "") -> None:
        """Warn once."""
        self.repeats.warn(LOGGER, logging.WARNING, about, "Member %s is slow%s", about, detail)

    def after(self, seconds: float) -> None:
        """Time passes, and the driver turns."""
        self.now += seconds
        self.repeats.flush()


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno > logging.DEBUG]


def test_the_first_is_written_and_the_others_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene()
    for number in range(13):
        scene.warn(detail=f" {number}")

    assert told(caplog) == ["Member right is slow 0"]
    assert scene.metrics.log_lines_suppressed == 12

    scene.after(LOG_REPEATS_S - 0.1)
    assert len(told(caplog)) == 1

    scene.after(0.1)
    assert told(caplog)[1:] == ["Member right is slow 12 (12 more in the last 60 s)"]


def test_a_flood_that_goes_on_is_a_line_for_each_interval(caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene()
    for _ in range(3 * 480):
        scene.warn()
        scene.after(0.125)

    assert told(caplog) == [
        "Member right is slow",
        "Member right is slow (479 more in the last 60 s)",
        "Member right is slow (480 more in the last 60 s)",
        "Member right is slow (480 more in the last 60 s)",
    ]


def test_after_a_quiet_time_the_next_one_is_a_first_one(caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene()
    scene.warn()
    scene.after(LOG_REPEATS_S)
    scene.warn()
    scene.after(2 * LOG_REPEATS_S)
    scene.warn()

    assert told(caplog) == ["Member right is slow"] * 3
    assert scene.metrics.log_lines_suppressed == 0


def test_the_count_comes_with_the_next_one_where_nobody_turns(
    caplog: pytest.LogCaptureFixture,
) -> None:
    scene = Scene()
    for _ in range(3):
        scene.warn()
    scene.now += 90.0
    scene.warn()

    assert told(caplog)[1:] == ["Member right is slow (3 more in the last 90 s)"]


def test_a_quiet_time_without_a_turn_ends_in_a_first_one(caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene()
    scene.warn()
    scene.now += LOG_REPEATS_S
    scene.warn()

    assert told(caplog) == ["Member right is slow"] * 2


def test_whom_it_is_about_and_what_it_says_make_it_another_one(
    caplog: pytest.LogCaptureFixture,
) -> None:
    scene = Scene()
    for _ in range(2):
        scene.warn("left")
        scene.warn("right")
        scene.repeats.warn(LOGGER, logging.ERROR, "left", "Member %s is gone", "left")

    assert told(caplog) == ["Member left is slow", "Member right is slow", "Member left is gone"]


def test_ever_new_ones_are_counted_together(caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene(kept_max=4)
    for number in range(1000):
        scene.warn(number)

    assert told(caplog) == [f"Member {number} is slow" for number in range(5)]
    assert scene.metrics.log_lines_suppressed == 995

    scene.after(LOG_REPEATS_S)
    assert told(caplog)[5:] == ["Member 999 is slow (995 more in the last 60 s)"]


def test_what_was_counted_is_told_at_the_end(caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene()
    scene.warn()
    scene.warn()
    scene.now += 5.0
    scene.repeats.finish()
    scene.repeats.finish()

    assert told(caplog)[1:] == ["Member right is slow (1 more in the last 5 s)"]


def test_at_debug_each_one_is_there(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "replsession")
    scene = Scene()
    for number in range(3):
        scene.warn(detail=f" {number}")

    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", "Member right is slow 0"),
        ("DEBUG", "Member right is slow 1"),
        ("DEBUG", "Member right is slow 2"),
    ]


def test_a_logger_that_is_off_costs_nothing_and_counts_nothing() -> None:
    class Costly:
        def __str__(self) -> str:
            raise AssertionError("nobody wants to read it")

    scene = Scene()
    LOGGER.setLevel(logging.CRITICAL)
    try:
        scene.warn(detail=Costly())
        scene.warn(detail=Costly())
    finally:
        LOGGER.setLevel(logging.NOTSET)
    assert scene.metrics.log_lines_suppressed == 0


def test_the_words_of_others_stay_on_one_line(caplog: pytest.LogCaptureFixture) -> None:
    Scene().warn("x\nINFO all is well\u2028", "\r")

    assert told(caplog) == ["Member x\ufffdINFO all is well\ufffd is slow\ufffd"]
    assert one_line("a\x1b[31mb") == "a\ufffd[31mb"


def test_the_first_one_shows_the_exception(caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene()
    for _ in range(2):
        try:
            raise ValueError("of the application")
        except ValueError:
            scene.repeats.warn(LOGGER, logging.ERROR, "", "It failed", exc_info=True)

    (record,) = caplog.records
    assert record.exc_info is not None and record.exc_info[0] is ValueError


def test_threads_together_write_one_line_and_lose_no_count(
    caplog: pytest.LogCaptureFixture,
) -> None:
    scene = Scene()

    def warn_often() -> None:
        for _ in range(200):
            scene.warn()

    threads = [threading.Thread(target=warn_often) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    scene.after(LOG_REPEATS_S)

    assert told(caplog) == [
        "Member right is slow",
        "Member right is slow (1599 more in the last 60 s)",
    ]


def test_the_bounds_of_the_product() -> None:
    assert (LOG_REPEATS_S, LOG_REPEATS_MAX) == (60.0, 256)
