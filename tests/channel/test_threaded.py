"""A loop on a thread of its own: how it comes up, how it ends, and how it fails."""

from __future__ import annotations

import asyncio
import threading

import pytest

from replsession.channel import threaded
from replsession.channel.threaded import LoopThread


class Life:
    """Takes down what runs on the loop, and where."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error
        self.done: list[tuple[str, int]] = []

    async def started(self) -> None:
        await asyncio.sleep(0)
        self.done.append(("started", threading.get_ident()))
        if self.error is not None:
            raise self.error

    async def stopping(self) -> None:
        await asyncio.sleep(0)
        self.done.append(("stopping", threading.get_ident()))


def test_both_run_on_one_other_thread() -> None:
    life = Life()
    thread = LoopThread(life.started, life.stopping)
    assert not thread.is_alive

    thread.start()

    assert thread.is_alive
    assert [what for what, _ in life.done] == ["started"]
    thread.stop()
    assert not thread.is_alive
    assert [what for what, _ in life.done] == ["started", "stopping"]
    assert len({where for _, where in life.done}) == 1
    assert threading.get_ident() not in {where for _, where in life.done}


def test_stopping_twice_or_before_the_start_does_nothing() -> None:
    life = Life()
    thread = LoopThread(life.started, life.stopping)
    thread.stop()
    assert life.done == []

    thread.start()
    thread.stop()
    thread.stop()

    assert [what for what, _ in life.done] == ["started", "stopping"]


@pytest.mark.parametrize("error", [OSError("no port"), ValueError("no sense"), SystemExit(3)])
def test_what_the_start_raises_is_raised_to_who_started(error: BaseException) -> None:
    life = Life(error)
    thread = LoopThread(life.started, life.stopping)

    with pytest.raises(type(error)) as raised:
        thread.start()

    assert raised.value is error
    thread.stop()
    assert [what for what, _ in life.done] == ["started"]


def test_without_a_loop_nobody_waits_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted() -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(asyncio.events, "new_event_loop", exhausted)
    life = Life()
    thread = LoopThread(life.started, life.stopping)

    with pytest.raises(OSError, match="Too many open files"):
        thread.start()

    thread.stop()
    assert life.done == []


def test_a_stop_that_hangs_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threaded, "STOP_TIMEOUT_S", 0.05)
    life = Life()
    may_end = threading.Event()

    async def hanging() -> None:
        await asyncio.to_thread(may_end.wait)

    thread = LoopThread(life.started, hanging)
    thread.start()

    thread.stop()

    assert thread.is_alive
    may_end.set()
    thread._thread.join(20)
    assert not thread.is_alive
