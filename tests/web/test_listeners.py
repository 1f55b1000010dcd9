"""Listeners: who is told what, in which order, and what happens to those that fail."""

from __future__ import annotations

import logging
from typing import Any, ClassVar

import pytest

from replsession.errors import ConfigError
from replsession.events import SessionChanged, SessionExpired
from replsession.identity import Key, public_id
from replsession.metrics import Metrics
from replsession.session.change import Change
from replsession.session.codec import encode
from replsession.session.flashes import Flash
from replsession.session.record import INTERVAL, SECRET
from replsession.web.listeners import METHODS, Listeners, SessionEvent, SessionListener

KEY = Key("/shop", b"l" * 12)
HASH = b"h" * 16
ID = public_id(KEY.locator, HASH)


class Recorder(SessionListener):
    """Writes down all that it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, SessionEvent]] = []

    def __getattribute__(self, name: str) -> Any:
        if name in METHODS:
            return lambda event: self.told.append((name, event))
        return super().__getattribute__(name)

    @property
    def short(self) -> list[tuple[Any, ...]]:
        """What was told, without what is the same in every event."""
        return [
            (name.removeprefix("attribute_").removeprefix("session_"), e.name, e.value, e.old)
            for name, e in self.told
        ]


def bytes_of(**values: Any) -> dict[str, bytes]:
    return {name: encode(name, value) for name, value in values.items()}


def local(*changes: tuple[Change, str, dict[str, bytes]]) -> Recorder:
    recorder = Recorder()
    Listeners([recorder], "/shop").local(changes, Metrics())
    return recorder


def test_a_birth_and_its_attributes() -> None:
    writes: dict[str, bytes | None] = {
        **bytes_of(a=1, cart=[2]),
        INTERVAL: b"\x80",
        SECRET: HASH,
    }
    recorder = local((Change(KEY, writes, birth=True), ID, {}))
    assert recorder.told == [
        ("session_created", SessionEvent(ID, "/shop", "local")),
        ("attribute_added", SessionEvent(ID, "/shop", "local", "a", 1)),
        ("attribute_added", SessionEvent(ID, "/shop", "local", "cart", [2])),
    ]


def test_replaced_and_removed() -> None:
    writes = {"a": encode("a", 2), "b": None, "c": encode("c", None)}
    recorder = local((Change(KEY, writes), ID, bytes_of(a=1, b="x")))
    assert recorder.short == [
        ("replaced", "a", 2, 1),
        ("removed", "b", None, "x"),
        ("added", "c", None, None),
    ]


def test_an_end_and_the_session_after_it() -> None:
    recorder = local(
        (Change(KEY, {}, destroy=True), "old", bytes_of(a=1)),
        (Change(KEY, {"a": b"\x02"}, birth=True), "new", {}),
    )
    assert [(name, event.session_id, event.reason) for name, event in recorder.told] == [
        ("session_destroyed", "old", "invalidated"),
        ("session_created", "new", None),
        ("attribute_added", "new", None),
    ]


def replicated(event: SessionChanged | SessionExpired) -> Recorder:
    recorder = Recorder()
    Listeners([recorder], "/shop").replicated(event, Metrics())
    return recorder


def test_what_another_member_did() -> None:
    changes = (("a", None, b"\x01"), ("b", b"\x01", b"\x02"), ("c", b"\x03", None))
    recorder = replicated(SessionChanged(KEY, HASH, True, False, changes))
    assert recorder.short == [
        ("created", None, None, None),
        ("added", "a", 1, None),
        ("replaced", "b", 2, 1),
        ("removed", "c", None, 3),
    ]
    assert {(e.session_id, e.context, e.origin) for _, e in recorder.told} == {
        (ID, "/shop", "replicated")
    }


def test_what_ended_on_another_member() -> None:
    recorder = replicated(SessionChanged(KEY, HASH, False, True, ()))
    assert [(name, e.reason, e.origin) for name, e in recorder.told] == [
        ("session_destroyed", "invalidated", "replicated")
    ]


def test_a_session_that_is_over_is_told_here() -> None:
    recorder = replicated(SessionExpired(KEY, HASH))
    assert recorder.told == [
        ("session_destroyed", SessionEvent(ID, "/shop", "local", reason="expired"))
    ]


def test_a_value_that_cannot_be_read_is_none() -> None:
    assert local((Change(KEY, {"a": b"\xff"}), ID, {"a": b"\x01"})).short == [
        ("replaced", "a", None, 1)
    ]


class OnlyCreated:
    def __init__(self) -> None:
        self.ids: list[str] = []

    def session_created(self, event: SessionEvent) -> None:
        """Write it down."""
        self.ids.append(event.session_id)


def test_a_listener_may_have_one_method_alone() -> None:
    listener = OnlyCreated()
    listeners = Listeners([listener], "/")
    listeners.local([(Change(KEY, {"a": b"\x01"}, birth=True), ID, {})], Metrics())
    listeners.local([(Change(KEY, {"a": b"\x02"}), ID, {})], Metrics())
    assert listener.ids == [ID]


class Failing:
    def attribute_added(self, event: SessionEvent) -> None:
        """Fail."""
        raise RuntimeError(f"no {event.name}")


def test_an_error_in_a_listener_is_logged_and_goes_no_further(
    caplog: pytest.LogCaptureFixture,
) -> None:
    metrics, recorder = Metrics(), Recorder()
    listeners = Listeners([Failing(), recorder], "/")
    with caplog.at_level(logging.ERROR, "replsession"):
        listeners.local([(Change(KEY, {"a": b"\x01", "b": b"\x02"}), ID, {})], metrics)
    assert recorder.short == [("added", "a", 1, None), ("added", "b", 2, None)]
    assert metrics.listener_errors == 2
    assert caplog.messages == ["Listener Failing failed in attribute_added"] * 2
    assert "RuntimeError: no a" in caplog.text


def test_each_listener_gets_its_own_turn_in_order() -> None:
    one, other = Recorder(), Recorder()
    Listeners((one, other), "/").local([(Change(KEY, {"a": b"\x01"}), ID, {})], Metrics())
    assert one.short == other.short == [("added", "a", 1, None)]


class Static:
    told: ClassVar[list[str]] = []

    @staticmethod
    def session_created(event: SessionEvent) -> None:
        """Write it down."""
        Static.told.append(event.session_id)


def test_a_class_of_static_methods_is_an_object_as_any_other() -> None:
    Listeners([Static], "/").local([(Change(KEY, {}, birth=True), ID, {})], Metrics())
    assert Static.told == [ID]


def test_nobody_listens() -> None:
    assert not Listeners([], "/")
    assert Listeners([OnlyCreated()], "/")


class Coroutine:
    async def session_created(self, event: SessionEvent) -> None:
        """Never awaited."""


class NoFunction:
    session_created = "call me"


@pytest.mark.parametrize(
    ("listeners", "field"),
    [
        (None, "listeners"),
        ("abc", "listeners"),
        (OnlyCreated(), "listeners"),
        ({OnlyCreated()}, "listeners"),
        ([object()], "listeners"),
        ([None], "listeners"),
        ([print], "listeners"),
        ([OnlyCreated], "listeners"),
        ([OnlyCreated(), Coroutine()], "listeners: session_created"),
        ([NoFunction()], "listeners: session_created"),
    ],
)
def test_what_is_no_listener(listeners: Any, field: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Listeners(listeners, "/")
    assert caught.value.field == field


def test_a_counter_is_told_as_it_is_shown() -> None:
    change = Change(KEY, {"a": encode("a", 1)}, increments={"new": 2, "hits": 3})
    assert local((change, ID, bytes_of(hits=40))).short == [
        ("added", "a", 1, None),
        ("added", "new", 2, None),
        ("replaced", "hits", 43, 40),
    ]


def test_of_flashes_nothing_is_told() -> None:
    change = Change(KEY, {}, flashed=(Flash(b"12345678", "info", b"\x01"),), popped=(b"x",))
    assert local((change, ID, {})).told == []
