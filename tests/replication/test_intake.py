"""Intake: the one door for news, and the rules by which it judges."""

from __future__ import annotations

from itertools import permutations

import pytest

from replsession.config import Limits, Timing
from replsession.events import SessionChanged, SessionExpired
from replsession.identity import Key
from replsession.messages import Access
from replsession.metrics import Metrics
from replsession.replication.intake import REQUESTS_MAX, Intake
from replsession.replication.pieces import whole
from replsession.session import counter, flashes
from replsession.session.codec import encode
from replsession.session.delta import REGISTER, Delta, Piece, Write
from replsession.session.expiry import SessionLimits, encoded_limits
from replsession.session.flashes import Flash
from replsession.session.record import INTERVAL, SECRET, Record
from replsession.session.stamp import HybridClock, Stamp
from replsession.session.store import Store
from tests.harness import of_kind, some_id, some_key

ME, A, B = some_id(9), some_id(1), some_id(2)
KEY = some_key(1)
BORN = Stamp(10, A)
RETENTION_S = 100.0


def intake(*, ready: bool = True, reported: bool = True, **bounds: int) -> Intake:
    """The intake of a member that is ready, and whose listeners want to know."""
    limits = Limits(**bounds)
    timing = Timing(tombstone_retention_s=RETENTION_S, tombstone_margin_s=20)
    store = Store(limits, timing)
    room = Intake(store, HybridClock(), ME, limits, timing, Metrics(), 0.0, ready)
    if reported:
        room.reported[KEY.context] = None
    return room


def stream(since: int, hlc: int, /, **written: bytes | None) -> Delta:
    """The writes of one request of member A."""
    writes = {name: Write(hlc, A, REGISTER, value) for name, value in written.items()}
    return Delta(KEY, BORN, since, {A: hlc}, writes, 0.0, Stamp(hlc, A), 0.0)


BIRTH = stream(0, 10, **{SECRET: b"hash", "x": b"\x01"})


def tombstone(age_s: float = 0.0, hlc: int = 90, born: Stamp = BORN) -> Delta:
    """The end of the session."""
    end = Stamp(hlc, B)
    return Delta(KEY, born, None, {}, {}, 0.0, end, 0.0, destroyed=end, destroyed_age_s=age_s)


def record_of(*news: Delta) -> Record:
    """A record that got this news."""
    record = Record.from_delta(news[0], 0.0)
    for delta in news:
        record.merge(delta, 0.0)
    return record


def take(room: Intake, *news: Delta, now: float = 0.0, in_transfer: bool = False) -> None:
    """Take in news from member A."""
    for delta in news:
        room.take(delta, A, now, in_transfer=in_transfer)


def held(room: Intake) -> Record:
    """Return the record of the session."""
    record = room.store.peek(KEY)
    assert record is not None
    return record


def changes(room: Intake) -> list[SessionChanged]:
    """Return what the listeners are told."""
    return of_kind(SessionChanged, room.events)


def test_a_birth_makes_a_complete_record() -> None:
    room = intake()
    take(room, BIRTH)

    assert held(room).complete
    assert held(room).values() == {"x": b"\x01"}
    assert room.due(0.0) == []
    assert room.metrics.partial_records == 0


def test_a_record_made_without_the_birth_is_asked_for_from_everybody() -> None:
    room = intake()
    take(room, stream(10, 20, y=b"\x02"))

    assert not held(room).complete
    assert held(room).value("y") == b"\x02"
    assert room.due(0.0) == [(None, KEY)]
    assert room.metrics.partial_records == 1
    assert changes(room) == []


def test_it_is_complete_when_a_whole_record_of_a_complete_holder_came() -> None:
    room = intake()
    take(room, stream(10, 20, y=b"\x02"), whole(record_of(BIRTH), 0.0))

    assert held(room).complete
    assert held(room).values() == {"x": b"\x01", "y": b"\x02"}
    assert room.due(100.0) == []


def test_the_whole_of_another_partial_record_does_not_complete() -> None:
    room = intake()
    partial = record_of(stream(10, 20, y=b"\x02"))
    take(room, whole(partial, 0.0))

    assert not held(room).complete
    assert room.due(0.0) == [(None, KEY)]


def test_after_a_gap_the_sender_is_asked_first_and_then_everybody() -> None:
    room = intake()
    take(room, BIRTH, stream(15, 20, y=b"\x02"))

    assert held(room).value("y") == b"\x02"
    assert held(room).version == {A: 10}
    assert room.metrics.gaps == 1
    assert room.due(0.0) == [(A, KEY)]
    assert room.due(0.9) == []
    assert room.due(1.0) == [(None, KEY)]


def test_a_record_is_asked_for_a_bounded_number_of_times() -> None:
    room = intake()
    take(room, BIRTH, stream(15, 20))
    asked = [room.due(float(second)) for second in range(20)]

    assert sum(map(len, asked)) == REQUESTS_MAX


def test_answers_by_those_who_have_no_more_do_not_make_it_ask_for_ever() -> None:
    room = intake()
    part = stream(10, 20, y=b"\x02")
    take(room, part)
    asked = 0
    for second in range(20):
        asked += len(room.due(float(second)))
        take(room, whole(record_of(part), 0.0), now=float(second))
    assert asked == REQUESTS_MAX

    take(room, stream(20, 30, y=b"\x03"), now=20.0)
    assert room.due(20.0) == [(None, KEY)], "who wrote that has it whole"
    take(room, whole(record_of(BIRTH), 0.0), now=20.0)
    assert held(room).complete
    assert (room.wanted, room.asked_out) == ({}, {})


def test_what_nobody_could_make_whole_is_remembered_within_bounds() -> None:
    room = intake(wanted_records_max=2)
    for number in range(5):
        room.want(some_key(number), None, 0.0)
        for _ in range(REQUESTS_MAX + 1):
            room.due(1e9)
            for want in room.wanted.values():
                want.ask_at = 0.0

    assert list(room.asked_out) == [some_key(3), some_key(4)]
    assert room.wanted == {}


def test_wanted_records_are_bounded() -> None:
    room = intake(wanted_records_max=2)
    for number in range(5):
        room.want(some_key(number), None, 0.0)

    assert [key for _, key in room.due(0.0)] == [some_key(0), some_key(1)]


def test_stamps_raise_the_clock() -> None:
    for news in (
        stream(0, 5000),
        tombstone(hlc=5000),
        whole(record_of(BIRTH), 0.0)._replace(version={B: 5000}),
        whole(record_of(BIRTH), 0.0)._replace(attributes={"x": Write(5000, B, 0, None)}),
        BIRTH._replace(born=Stamp(5000, A)),
    ):
        room = intake()
        take(room, news)
        assert room.clock.tick(0.0) > 5000


def test_a_tombstone_ends_the_session() -> None:
    room = intake()
    take(room, BIRTH, tombstone(), stream(10, 20, y=b"\x02"), whole(record_of(BIRTH), 0.0))

    assert held(room).destroyed == Stamp(90, B)
    assert held(room).values() == {}


def test_a_tombstone_of_an_unknown_session_is_kept() -> None:
    room = intake()
    take(room, tombstone(), BIRTH)

    assert held(room).destroyed == Stamp(90, B)


@pytest.mark.parametrize(
    ("age_s", "taken"), [(0.0, True), (99.9, True), (100.0, False), (1e9, False)]
)
def test_a_tombstone_at_its_retention_is_not_taken(age_s: float, taken: bool) -> None:
    room = intake()
    take(room, tombstone(age_s))

    assert (room.store.peek(KEY) is not None) is taken


def test_a_tombstone_keeps_its_age_on_the_way() -> None:
    room = intake()
    take(room, tombstone(30.0), now=200.0)

    assert held(room).ended_at == 170.0
    assert whole(held(room), 210.0).destroyed_age_s == 40.0


def test_who_writes_to_an_ended_session_is_told() -> None:
    room = intake()
    take(room, tombstone())
    assert room.stale == []

    take(room, stream(10, 20))
    assert [record.key for record in room.stale] == [KEY]


@pytest.mark.parametrize("ready", [True, False])
@pytest.mark.parametrize(
    ("born", "is_buried"),
    [(BORN, True), (Stamp(9, A), True), (Stamp(11, A), False), (Stamp(9, B), False)],
)
def test_what_may_have_been_forgotten_is_buried(born: Stamp, is_buried: bool, ready: bool) -> None:
    room = intake(ready=ready)
    room.store.forget({A: 10})
    take(room, stream(10, 20, y=b"\x02")._replace(born=born))

    assert (held(room).destroyed is not None) is (is_buried and ready)
    assert [record.key for record in room.buried] == ([KEY] if is_buried and ready else [])
    assert room.metrics.sessions_buried == (is_buried and ready)


def test_the_tombstone_of_one_that_is_buried_beats_all_that_was_written() -> None:
    room = intake()
    room.store.forget({A: 10})
    take(room, stream(10, 5000))

    assert room.buried[0].destroyed is not None
    assert room.buried[0].destroyed > Stamp(5000, A)
    assert room.buried[0].destroyed.member == ME


def test_a_tombstone_of_a_forgotten_session_is_no_news() -> None:
    room = intake()
    room.store.forget({A: 10})
    take(room, tombstone(1.0))

    assert room.buried == []


def test_a_fresher_access_keeps_a_session_awake() -> None:
    room = intake()
    limits = encoded_limits(SessionLimits(10, None))
    take(room, stream(0, 10, **{INTERVAL: limits, "x": b"\x01"}))
    room.store.sweep(KEY.locator[0], 50.0, 0.0)
    assert held(room).asleep

    room.take_access(Access(KEY, Stamp(5, A), 1.0), 50.0)
    assert held(room).asleep
    room.take_access(Access(KEY, Stamp(70, A), 30.0), 50.0)
    assert held(room).asleep
    room.take_access(Access(KEY, Stamp(80, A), 1.0), 50.0)
    assert not held(room).asleep
    assert held(room).values() == {"x": b"\x01"}
    assert held(room).accessed == 49.0


def test_a_write_wakes_a_session() -> None:
    room = intake()
    take(room, stream(0, 10, **{INTERVAL: encoded_limits(SessionLimits(10, None))}))
    room.store.sweep(KEY.locator[0], 50.0, 0.0)
    take(room, stream(10, 20, y=b"\x02"), now=50.0)

    assert not held(room).asleep
    assert KEY in room.store.counted(KEY.locator[0], 50.0)


def test_an_access_of_an_unknown_or_ended_session_changes_nothing() -> None:
    room = intake()
    room.take_access(Access(KEY, Stamp(5000, A), 0.0), 0.0)
    assert len(room.store) == 0
    assert room.clock.tick(0.0) > 5000

    take(room, tombstone())
    room.take_access(Access(KEY, Stamp(6000, A), 0.0), 0.0)
    assert held(room).destroyed is not None


def test_digests_follow_whatever_order_the_news_came_in() -> None:
    news = [
        BIRTH,
        stream(10, 20, x=b"\x02"),
        stream(20, 30, y=b"\x03"),
        whole(record_of(BIRTH), 0.0),
    ]
    for order in permutations([*news, tombstone()]):
        room = intake()
        for delta in order:
            take(room, delta)
            assert room.store.counted(KEY.locator[0], 0.0) == {KEY: held(room).digest()}


def test_listeners_hear_what_was_added_replaced_and_removed() -> None:
    room = intake()
    take(room, BIRTH, stream(10, 20, x=b"\x02", y=b"\x03"), stream(20, 30, x=None))

    assert changes(room) == [
        SessionChanged(KEY, b"hash", True, False, (("x", None, b"\x01"),)),
        SessionChanged(KEY, b"hash", False, False, (("x", b"\x01", b"\x02"), ("y", None, b"\x03"))),
        SessionChanged(KEY, b"hash", False, False, (("x", b"\x02", None),)),
    ]


def test_listeners_hear_the_end_of_a_session_once() -> None:
    room = intake()
    take(room, BIRTH)
    room.events.clear()
    take(room, tombstone(), tombstone(), tombstone(hlc=95))

    assert changes(room) == [SessionChanged(KEY, b"hash", False, True, ())]


def test_listeners_hear_nothing_of_what_is_no_news() -> None:
    room = intake()
    take(room, BIRTH, stream(10, 20, x=b"\x02"))
    room.events.clear()
    take(room, BIRTH, stream(10, 20, x=b"\x02"), stream(20, 30, **{SECRET: b"other"}))

    assert changes(room) == []


def test_listeners_hear_of_a_partial_record_when_it_is_complete() -> None:
    room = intake()
    take(room, stream(10, 20, y=b"\x02"), whole(record_of(BIRTH), 0.0))

    assert changes(room) == [
        SessionChanged(KEY, b"hash", True, False, (("y", None, b"\x02"), ("x", None, b"\x01")))
    ]


def test_listeners_do_not_hear_of_a_state_transfer() -> None:
    room = intake()
    take(room, whole(record_of(BIRTH), 0.0), in_transfer=True)

    assert held(room).complete
    assert changes(room) == []


def test_nobody_hears_of_a_context_that_nobody_asked_for() -> None:
    room = intake(reported=False)
    take(room, BIRTH, tombstone())

    assert changes(room) == []


IDLE = {INTERVAL: encoded_limits(SessionLimits(10, None))}
OVER_AT = 50.0


def asleep(**written: bytes) -> Intake:
    """The intake of a member that has the session asleep since 50."""
    room = intake()
    take(room, stream(0, 10, **{SECRET: b"hash", **IDLE, "x": b"\x01", **written}))
    room.store.sweep(KEY.locator[0], OVER_AT, 0.0)
    assert held(room).asleep
    room.events.clear()
    return room


def other_copy(*news: Delta, idle_s: float = 0.0, asleep_s: float | None = None) -> Delta:
    """The whole record of another member, as it would send it."""
    birth = stream(0, 10, **{SECRET: b"hash", **IDLE, "x": b"\x01"})
    return whole(record_of(birth, *news), 0.0)._replace(idle_s=idle_s, asleep_s=asleep_s)


def test_the_same_access_wakes_nobody_however_fresh_it_looks() -> None:
    room = asleep()
    take(room, other_copy(), BIRTH, now=OVER_AT)
    room.take_access(Access(KEY, Stamp(10, A), 0.0), OVER_AT)

    assert held(room).asleep
    assert room.metrics.sessions_woken == 0


def test_a_whole_record_with_a_fresher_access_wakes_with_all_attributes() -> None:
    room = asleep(mine=b"\x05")
    take(room, other_copy(stream(10, 20, y=b"\x02"), idle_s=3.0), now=OVER_AT)

    assert held(room).values() == {"x": b"\x01", "mine": b"\x05", "y": b"\x02"}
    assert (held(room).asleep, room.metrics.sessions_woken) == (False, 1)
    assert room.stale == []


def test_news_of_an_access_that_is_over_itself_wake_nobody() -> None:
    room = asleep()
    take(room, other_copy(stream(10, 20, y=b"\x02"), idle_s=10.0), now=OVER_AT)

    assert held(room).asleep
    assert held(room).value("y") == b"\x02"


@pytest.mark.parametrize(
    ("theirs", "is_told"),
    [
        (other_copy(), True),
        (other_copy()._replace(attributes={}), True),
        (other_copy(asleep_s=3.0), False),
        (other_copy()._replace(piece=Piece(1, 0, 2)), False),
        (other_copy()._replace(piece=Piece(1, 1, 2)), True),
    ],
    ids=["less", "nothing", "asleep there, too", "a piece", "the last piece"],
)
def test_who_has_less_of_it_awake_is_told_what_sleeps_here(theirs: Delta, is_told: bool) -> None:
    room = asleep(mine=b"\x05")
    take(room, theirs, now=OVER_AT)

    assert [record.key for record in room.stale] == ([KEY] if is_told else [])


def test_who_has_the_same_awake_is_told_nothing() -> None:
    room = asleep()
    take(room, other_copy(), now=OVER_AT)

    assert room.stale == []


@pytest.mark.parametrize(
    ("delta", "in_transfer", "found"),
    [
        (other_copy(idle_s=9.9), False, "awake"),
        (other_copy(idle_s=10.0), False, "refused"),
        (other_copy(idle_s=10.0), True, "asleep"),
        (other_copy(idle_s=9.9, asleep_s=0.0), False, "asleep"),
        (other_copy(idle_s=500.0, asleep_s=99.9), False, "asleep"),
        (other_copy(idle_s=500.0, asleep_s=100.0), False, "refused"),
        (other_copy(idle_s=500.0, asleep_s=100.0), True, "refused"),
    ],
)
def test_an_unknown_session_that_is_over_is_not_begun_with(
    delta: Delta, in_transfer: bool, found: str
) -> None:
    room = intake()
    take(room, delta, now=1000.0, in_transfer=in_transfer)
    record = room.store.peek(KEY)

    assert room.metrics.records_refused == (found == "refused")
    assert (record is None) is (found == "refused")
    if record is not None:
        assert record.asleep is (found == "asleep")
        assert not record.asleep or record.ended_at == 1000.0 - (delta.asleep_s or 0.0)
        assert len(room.store.sleepers) == record.asleep
    assert len(changes(room)) == (found == "awake")


def test_who_puts_pieces_together_hears_that_one_was_refused() -> None:
    room = intake()
    lost: list[Key] = []
    room.lost_pieces = lost.append
    take(room, other_copy(idle_s=10.0)._replace(piece=Piece(1, 0, 2)))

    assert lost == [KEY]


@pytest.mark.parametrize(
    ("access", "now", "is_asleep"),
    [(Stamp(10, A), 10.0, True), (Stamp(10, A), 9.9, False), (Stamp(9, B), 10.0, False)],
    ids=["over here, too", "not over here", "here by another access"],
)
def test_one_that_sleeps_elsewhere_is_judged_here(
    access: Stamp, now: float, is_asleep: bool
) -> None:
    room = intake()
    take(room, stream(0, 10, **{SECRET: b"hash", **IDLE, "x": b"\x01"}))
    room.events.clear()
    take(room, other_copy(asleep_s=1.0, idle_s=now)._replace(access=access), now=now)

    assert held(room).asleep is is_asleep
    assert of_kind(SessionExpired, room.events) == [SessionExpired(KEY, b"hash")] * is_asleep


def test_a_partial_record_that_is_over_when_the_rest_comes_is_served_to_nobody() -> None:
    room = intake()
    take(room, stream(10, 20, y=b"\x02"))
    take(room, other_copy(stream(10, 20, y=b"\x02"), idle_s=30.0), now=30.0)

    assert held(room).complete
    assert held(room).asleep
    assert held(room).value("x") == b"\x01"
    assert room.events == []


def test_listeners_hear_of_a_counter_as_it_is_shown_and_of_no_flash() -> None:
    room = intake()
    take(room, BIRTH)
    room.events.clear()
    register, one = counter.counted({}, A, "hits", 1)
    take(room, stream(10, 20, **{register: one}))
    _, two = counter.counted({}, A, "hits", 2)
    take(room, stream(20, 30, **{register: two}))
    take(room, stream(30, 40, hits=encode("", 9)))
    flash = Flash(b"12345678", "info", b"\x01")
    flashed = flashes.written({}, Stamp(50, A), [flash], [], Limits())
    take(room, stream(40, 50, **{flashed.register: flashed.value}))

    assert [event.changes for event in changes(room)] == [
        (("hits", None, encode("", 1)),),
        (("hits", encode("", 1), encode("", 2)),),
        (("hits", encode("", 2), encode("", 9)),),
    ]
    assert held(room).values().flashes == (flash,)
