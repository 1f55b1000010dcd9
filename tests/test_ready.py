"""What a node wants done: a value with one place for each kind of work."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields

import pytest

from replsession.concern import Asked
from replsession.messages import Deltas
from replsession.ready import Ready
from replsession.session.change import Change
from tests.harness import Network, decoded, some_key

KEY = some_key(1)
NAMES = [field.name for field in fields(Ready)]


@pytest.mark.parametrize("name", NAMES)
def test_nobody_changes_an_order_on_its_way(name: str) -> None:
    ready = Ready([], [], [], [], [], 0.0)
    with pytest.raises(FrozenInstanceError):
        setattr(ready, name, None)
    assert not hasattr(ready, "__dict__")


def test_every_kind_of_work_has_its_place() -> None:
    assert NAMES == ["datagrams", "frames", "links", "events", "done", "wake_at"]


def test_frames_are_in_the_order_in_which_they_must_be_written() -> None:
    network = Network()
    node = network.add(1)
    network.run(1.0)
    hands = [network.by_hand("m1", number) for number in (8, 9)]
    for hand in hands:
        hand.hello()
    for value in (b"\x01", b"\x02"):
        node.commit(Change(KEY, {"x": value}, birth=value == b"\x01"), network.now)
    ready = node.ready()

    assert [link for link, _ in ready.frames] == [hand.link for hand in hands]
    for _, frame in ready.frames:
        (batch,) = decoded(frame)
        assert isinstance(batch, Deltas)
        assert [delta.attributes["x"].value for delta in batch.deltas] == [b"\x01", b"\x02"]


def test_who_need_not_wait_any_more_is_handed_out_with_the_rest() -> None:
    network = Network()
    node = network.add(1)
    network.run(1.0)
    hand = network.by_hand("m1", 9)
    hand.hello()
    node.commit(Change(KEY, {"x": b"\x01"}, birth=True), network.now)
    ticket = node.acknowledgement(Asked("all", 0.2), (KEY,), network.now)
    first = node.ready()
    assert (first.done, first.wake_at <= network.now + 0.2) == ([], True)
    node.timer_fired(network.now + 0.2)

    assert node.ready().done == [ticket]
