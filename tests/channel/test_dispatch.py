"""Events for listeners: a bound on what waits, and slices between which the loop turns."""

from __future__ import annotations

import time
from collections import deque
from typing import Any

import pytest

from replsession.channel import dispatch
from replsession.channel.dispatch import Dispatcher
from replsession.events import BecameReady, SessionChanged, SessionExpired
from replsession.identity import Key
from replsession.metrics import Metrics


def changed(number: int, context: str = "/shop") -> SessionChanged:
    key = Key(context, number.to_bytes(12, "big"))
    return SessionChanged(key, bytes(16), created=False, destroyed=False, changes=())


def expired(number: int, context: str = "/shop") -> SessionExpired:
    return SessionExpired(Key(context, number.to_bytes(12, "big")), bytes(16))


def test_each_context_gets_its_own_in_order() -> None:
    dispatcher = Dispatcher()
    shop: list[object] = []
    forum: list[object] = []
    dispatcher.receivers = {"/shop": shop.append, "/forum": forum.append}
    metrics = Metrics()

    for event in (changed(1), changed(1, "/forum"), expired(1), changed(2), changed(2, "/none")):
        dispatcher.put(event, metrics)
    dispatcher.put(BecameReady(), metrics)

    assert shop == forum == [], "nothing runs while events are taken in"
    while dispatcher.deliver():
        pass
    assert shop == [changed(1), expired(1), changed(2)]
    assert forum == [changed(1, "/forum")]
    assert metrics.listener_events_dropped == 0


def test_what_nobody_hears_does_not_wait() -> None:
    dispatcher = Dispatcher()

    dispatcher.put(changed(1), Metrics())

    assert not dispatcher.deliver()


def test_beyond_the_bound_events_are_dropped_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "QUEUE_MAX", 5)
    dispatcher = Dispatcher()
    heard: list[object] = []
    dispatcher.receivers["/shop"] = heard.append
    metrics = Metrics()

    for number in range(8):
        dispatcher.put(changed(number), metrics)
    while dispatcher.deliver():
        pass

    assert heard == [changed(number) for number in range(5)]
    assert metrics.listener_events_dropped == 3
    dispatcher.put(changed(9), metrics)
    assert not dispatcher.deliver()
    assert heard[-1] == changed(9)


def test_a_slow_listener_gets_one_event_a_slice(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    dispatcher = Dispatcher()
    heard: list[object] = []

    def slow(event: object) -> None:
        heard.append(event)
        now[0] += 2 * dispatch.SLICE_S

    dispatcher.receivers["/shop"] = slow
    for number in range(3):
        dispatcher.put(changed(number), Metrics())

    assert [(dispatcher.deliver(), len(heard)) for _ in range(3)] == [
        (True, 1),
        (True, 2),
        (False, 3),
    ]


def test_a_quick_listener_gets_many_in_a_slice(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    dispatcher = Dispatcher()
    heard: list[object] = []

    def quick(event: object) -> None:
        heard.append(event)
        now[0] += dispatch.SLICE_S / 10

    dispatcher.receivers["/shop"] = quick
    for number in range(25):
        dispatcher.put(changed(number), Metrics())

    assert dispatcher.deliver()
    assert 9 <= len(heard) <= 11


def test_events_that_come_while_one_is_delivered_come_after_it() -> None:
    dispatcher = Dispatcher()
    heard: list[object] = []
    metrics = Metrics()

    def receiver(event: object) -> None:
        heard.append(event)
        if event == changed(1):
            dispatcher.put(changed(3), metrics)

    dispatcher.receivers["/shop"] = receiver
    dispatcher.put(changed(1), metrics)
    dispatcher.put(changed(2), metrics)
    while dispatcher.deliver():
        pass

    assert heard == [changed(1), changed(2), changed(3)]


class Contended(deque[Any]):
    """A queue of which another thread takes the only event, once it was seen to be there."""

    def __bool__(self) -> bool:
        was_there = len(self) > 0
        self.clear()
        return was_there


def test_an_event_that_another_thread_was_quicker_to_take_is_no_error() -> None:
    heard: list[object] = []
    dispatcher = Dispatcher()
    dispatcher.receivers = {"/shop": heard.append}
    dispatcher._queue = Contended([changed(1)])
    assert not dispatcher.deliver()
    assert heard == []
