"""Replication: the rooms of one member's sessions as one, and what links mean to them."""

from __future__ import annotations

from random import Random

import pytest

from replsession.concern import Asked
from replsession.config import UNCOUNTED_MAX, NodeConfig, Timing
from replsession.events import Event, Member, SessionExpired, StateRequested
from replsession.identity import LOCATOR_BYTES, Key
from replsession.messages import Deltas, Message, StateRequest
from replsession.metrics import Metrics
from replsession.replication.replication import Replication
from replsession.session.change import Change
from replsession.session.expiry import SessionLimits, encoded_limits
from replsession.session.record import INTERVAL, SECRET, Record
from replsession.session.stamp import NOTHING_SEEN
from replsession.wire import encoding
from tests.harness import WALL_OFFSET_S, decoded, some_id, some_key, some_member

ME, HIGHER, LOWER = some_id(5), some_id(9), some_id(1)
KEY = some_key(1)
NOW = 1000.0
LINK = 7
WRITES: dict[str, bytes | None] = {"x": b"\x01"}
TIMING = Timing()


def rooms(*, ready: bool = True) -> tuple[Replication, list[Event]]:
    """The rooms of member 5, and where its events go."""
    events: list[Event] = []
    wall_offset_s = WALL_OFFSET_S - NOW
    room = Replication(
        NodeConfig(), ME, encoding, events, Metrics(), {}, Random(1), NOW, wall_offset_s
    )
    if ready:
        room.become_ready(NOW)
    return room, events


def another(number: int = 9, *, ready: bool = True) -> Member:
    return some_member(number, ready=ready)


def sent(room: Replication, view: list[Member], now: float = NOW) -> list[Message]:
    """Let everything leave that may; return it."""
    room.flush(lambda: view, now)
    frames, room.peers.frames = room.peers.frames, []
    return [message for _, frame in frames for message in decoded(frame)]


def born(room: Replication, number: int = 1, **more: bytes) -> None:
    """Begin a session."""
    writes = {**WRITES, **more}
    assert room.requests.commit(Change(some_key(number), writes, birth=True), NOW)


def test_what_is_committed_goes_to_members_with_a_link() -> None:
    room, _ = rooms()
    born(room, 1)
    room.link_up(another(), LINK, NOW)
    born(room, 2)
    (batch,) = sent(room, [another()])
    assert isinstance(batch, Deltas)
    assert [delta.key for delta in batch.deltas] == [some_key(2)]

    room.link_down(HIGHER, NOW, is_up=False)
    born(room, 3)
    assert sent(room, []) == []


@pytest.mark.parametrize(("number", "is_due"), [(9, True), (1, False)])
def test_of_two_that_meet_the_lower_one_begins_to_compare(number: int, is_due: bool) -> None:
    room, _ = rooms()
    room.link_up(another(number), LINK, NOW)
    assert list(room.repairer.rounds.due) == [some_id(number)] * is_due
    room.link_down(some_id(number), NOW, is_up=False)

    assert room.repairer.rounds.due == {}


@pytest.mark.parametrize("ready", [True, False])
def test_on_a_new_link_a_ready_member_is_sent_what_is_waited_for(ready: bool) -> None:
    room, _ = rooms()
    room.link_up(another(1), LINK, NOW)
    born(room)
    ticket = room.acknowledgement(Asked("one"), (KEY,), [another(1)], 1, NOW, again=False)
    sent(room, [another(1)])
    room.link_up(another(9, ready=ready), LINK + 1, NOW)
    batches = [message for message in sent(room, [another(1)]) if isinstance(message, Deltas)]

    assert [delta.since for batch in batches for delta in batch.deltas] == [None] * ready
    assert not ticket.is_done


def test_who_waits_is_handed_out_by_the_flush() -> None:
    room, _ = rooms()
    room.link_up(another(), LINK, NOW)
    born(room)
    ticket = room.acknowledgement(Asked("all", 0.5), (KEY,), [another()], 1, NOW, again=False)
    assert room.next_at(alone=False) == NOW
    sent(room, [another()])
    room.reaper.sweep(NOW)
    assert room.next_at(alone=False) == NOW + TIMING.sweep_interval_s
    sent(room, [], NOW)

    assert room.waits.taken() == [ticket]
    assert not ticket.is_met


def test_after_a_turn_few_digests_are_still_to_be_made() -> None:
    room, _ = rooms()
    for number in range(UNCOUNTED_MAX + 20):
        key = Key("/", number.to_bytes(LOCATOR_BYTES, "little"))
        assert room.requests.commit(Change(key, WRITES, birth=True), NOW)
    room.flush(list, NOW)
    counted = [record for record in room.store.records() if record.counted]

    assert len(counted) == 20


def test_who_says_goodbye_is_neither_waited_for_nor_known_as_one_with_news() -> None:
    room, _ = rooms()
    room.link_up(another(), LINK, NOW)
    room.repairer.settled["m9"] = 1.0
    born(room)
    ticket = room.acknowledgement(Asked("all"), (KEY,), [another()], 1, NOW, again=False)
    room.said_goodbye("m9")
    room.link_down(HIGHER, NOW, is_up=False)
    sent(room, [])

    assert (ticket.is_done, ticket.is_met, ticket.needed) == (True, True, 0)
    assert room.repairer.settled == {}


def test_a_member_without_its_state_asks_one_that_is_ready() -> None:
    room, events = rooms(ready=False)
    up = {HIGHER: another(), LOWER: another(1, ready=False)}
    for number, member in enumerate(up.values()):
        room.link_up(member, LINK + number, NOW)

    assert not room.join(up, 1, NOW)
    assert events == [StateRequested(another())]
    assert StateRequest(1, 0) in sent(room, list(up.values()))
    assert room.repairer.rounds.due == {}, "who is not ready compares with nobody"


def test_nobody_there_is_an_end_of_joining_too() -> None:
    room, _ = rooms(ready=False)
    assert not room.join({}, 0, NOW)
    assert room.join({}, 0, NOW + TIMING.discovery_s)


def test_when_it_is_ready_it_compares_with_everybody() -> None:
    room, _ = rooms(ready=False)
    for number, member in enumerate((1, 9)):
        room.link_up(another(member), LINK + number, NOW)
    room.become_ready(NOW)

    assert room.intake.is_ready
    assert list(room.repairer.rounds.due) == [LOWER, HIGHER]


def test_a_later_run_takes_over_what_an_earlier_one_had() -> None:
    room, _ = rooms()
    born(room)
    born(room, 2)
    assert room.requests.commit(Change(some_key(2), {}, destroy=True), NOW)
    room.store.forget({LOWER: 7})
    later, _ = rooms(ready=False)
    later.adopt(room, NOW)

    record = later.requests.open(KEY, NOW, None, NOTHING_SEEN, is_final=True)
    assert isinstance(record, Record) and record.values() == {"x": b"\x01"}
    assert later.requests.open(some_key(2), NOW, None, NOTHING_SEEN, is_final=True) is None
    assert later.store.forgotten == {LOWER: 7}


def test_a_sweep_visits_one_bucket_after_the_other_and_not_too_often() -> None:
    room, events = rooms()
    room.intake.reported[KEY.context] = None
    limits = encoded_limits(SessionLimits(1, None))
    for number in (1, 2, 3):
        born(room, number, **{INTERVAL: limits, SECRET: b"hash"})
    late = NOW + 100.0
    told: list[int] = []
    for step in range(8):
        room.reaper.timer_fired(late + step * TIMING.sweep_interval_s / 2)
        told.append(len(events))

    assert told == [0, 0, 1, 1, 2, 2, 3, 3]
    assert events == [SessionExpired(some_key(number), b"hash") for number in (1, 2, 3)]


def test_alone_only_the_sweep_keeps_the_time() -> None:
    room, _ = rooms()
    room.link_up(another(), LINK, NOW)
    born(room)
    room.acknowledgement(Asked("all", 0.001), (KEY,), [another()], 1, NOW, again=False)
    room.reaper.sweep(NOW)

    assert room.next_at(alone=True) == NOW + TIMING.sweep_interval_s
    assert room.next_at(alone=False) == NOW + 0.001
