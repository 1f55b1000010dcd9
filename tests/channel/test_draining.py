"""A member that is asked to stop says so first, and hands the signal on when its time is over."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import replace
from types import FrameType

import pytest

from replsession.channel.draining import Draining
from replsession.config import Timing
from tests.channel.running import QUICK, Home, Host, some_settings, until

LONG_S = 1000.0


@pytest.fixture
def home() -> Iterator[Home]:
    """A loop on a thread of its own."""
    made = Home(asyncio.new_event_loop)
    yield made
    made.close()


@pytest.fixture
def stops() -> Iterator[list[int]]:
    """The signals that a server got, which has a handler as uvicorn and gunicorn do."""
    found: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        found.append(number)

    before = signal.signal(signal.SIGTERM, stop)
    yield found
    signal.signal(signal.SIGTERM, before)


def ask_to_stop() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def draining(timing: Timing, drain_s: float) -> Timing:
    return replace(timing, drain_s=drain_s)


def test_it_is_not_ready_first_and_the_server_hears_it_afterwards(
    thread_host: Host, stops: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "replsession")
    channel = thread_host.started(some_settings(draining(QUICK, 0.2)))
    until(lambda: channel.is_ready, "it is ready")

    ask_to_stop()

    assert (channel.state, channel.is_ready, stops) == ("leaving", False, [])
    until(lambda: stops, "the server has heard it")
    assert stops == [signal.SIGTERM]
    assert channel.state == "leaving"
    assert "not ready any more, serving for 0.2 s more" in caplog.text


def test_who_asks_twice_does_not_wait(thread_host: Host, stops: list[int]) -> None:
    channel = thread_host.started(some_settings(draining(QUICK, LONG_S)))
    ask_to_stop()
    assert stops == []
    ask_to_stop()
    assert stops == [signal.SIGTERM]
    assert channel.state == "leaving"


def test_without_a_time_nothing_is_changed(thread_host: Host, stops: list[int]) -> None:
    before = signal.getsignal(signal.SIGTERM)
    channel = thread_host.started(some_settings(QUICK))
    assert signal.getsignal(signal.SIGTERM) is before
    ask_to_stop()
    assert stops == [signal.SIGTERM]
    assert channel.state != "leaving"


def test_it_gives_the_signal_back_when_it_stops(thread_host: Host, stops: list[int]) -> None:
    before = signal.getsignal(signal.SIGTERM)
    channel = thread_host.started(some_settings(draining(QUICK, LONG_S)))
    assert signal.getsignal(signal.SIGTERM) is not before
    channel.stop_thread()
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_signal_that_is_ignored_stays_so(home: Home) -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        Draining(LONG_S).listen(home.loop)
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)


def test_only_the_main_thread_can_and_others_are_told(
    home: Home, stops: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=Draining(LONG_S).listen, args=(home.loop,))
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGTERM) is before
    assert "drain_s has no effect" in caplog.text


def test_nobody_waits_on_a_loop_that_has_ended(stops: list[int]) -> None:
    loop = asyncio.new_event_loop()
    Draining(LONG_S).listen(loop)
    loop.close()
    ask_to_stop()
    assert stops == [signal.SIGTERM]
