"""This process's member: what requests do to it, from any thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from replsession.channel.member import LocalMember, nothing
from replsession.channel.waiting import Waiter
from replsession.concern import Asked
from replsession.config import NodeConfig, Timing
from replsession.events import BecameReady, SessionExpired
from replsession.identity import Address
from replsession.messages import Acknowledge, Deltas
from replsession.session.change import Change
from replsession.session.context import Identity, Loaded
from replsession.session.expiry import SessionLimits, encoded_limits
from replsession.session.record import INTERVAL, SECRET
from replsession.session.stamp import NOTHING_SEEN, Seen
from tests.channel.running import (
    PATIENCE_S,
    some_hash,
    some_identity,
    some_key,
    some_settings,
)
from tests.web.wired import Wired


def birth(number: int = 1, **writes: bytes) -> Change:
    return Change(some_key(number), {SECRET: some_hash(number), **writes}, birth=True)


def opened(member: LocalMember, identity: Identity | None = None) -> Loaded | None:
    """Return what a request finds that need not wait."""
    found = member.open(identity or some_identity(), NOTHING_SEEN)
    assert not isinstance(found, Waiter)
    return found


def hash_after(member: LocalMember, *changes: Change) -> bytes | None:
    """Commit; return the hash of the id's secret part after it."""
    committed = member.commit(changes)
    assert committed is None or committed.waiter is None
    return None if committed is None else committed.secret_hash


def values_in(member: LocalMember, number: int = 1) -> dict[str, bytes] | None:
    loaded = opened(member, some_identity(number))
    if loaded is None:
        return None
    return {name: value for name, value in loaded.values.items() if name[0] != "\0"}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Move the monotonic clock of the member."""
    now = [time.monotonic()]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])

    def move(seconds: float) -> None:
        now[0] += seconds

    return move


def test_what_was_committed_is_found() -> None:
    member = LocalMember(None, None)
    before = time.time()

    assert hash_after(member, birth(a=b"\x01")) == some_hash()

    loaded = opened(member)
    assert loaded is not None
    assert loaded.values["a"] == b"\x01"
    assert before - 1 <= loaded.created_at <= time.time() + 1
    assert loaded.limits == SessionLimits(1800, None)
    assert loaded.stale is None


def test_an_unknown_session_an_old_id_and_an_ended_one_are_nothing() -> None:
    member = LocalMember(None, None)
    assert opened(member) is None
    member.commit((birth(a=b"\x01"),))

    other_id = some_identity()._replace(secret_hash=some_hash(2))
    member.commit((Change(some_key(), {SECRET: some_hash(2)}),))
    assert opened(member) is None
    assert opened(member, other_id) is not None

    assert hash_after(member, Change(some_key(), {}, destroy=True)) == b""
    assert opened(member, other_id) is None
    assert member.commit((Change(some_key(), {"a": b"\x02"}),)) is None


def test_changes_of_one_commit_are_applied_in_their_order() -> None:
    member = LocalMember(None, None)
    member.commit((birth(1, a=b"\x01"),))

    end = Change(some_key(1), {}, destroy=True)

    assert hash_after(member, end, birth(2, b=b"\x02")) == some_hash(2)
    assert values_in(member, 1) is None
    assert values_in(member, 2) == {"b": b"\x02"}


def test_each_commit_wakes_the_driver_outside_the_lock() -> None:
    member = LocalMember(some_settings(), None)
    woken: list[bool] = []
    member.wake = lambda: woken.append(member.lock.locked())

    member.commit((birth(),))
    member.commit((Change(some_key(), {"a": b"\x01"}),))

    assert woken == [False, False]


def test_every_member_is_another_one() -> None:
    members = [LocalMember(some_settings(), None) for _ in range(3)]

    assert len({member.node.me.id for member in members}) == 3
    assert {member.node.me.address for member in members} == {Address("127.0.0.1", 1)}
    assert LocalMember(some_settings(member_name="left"), None).node.me.name == "left"


def test_a_later_start_takes_over_what_was_here() -> None:
    earlier = LocalMember(some_settings(), None)
    earlier.commit((birth(1, a=b"\x01"),))
    earlier.commit((birth(2, a=b"\x01"), Change(some_key(2), {}, destroy=True)))

    later = LocalMember(some_settings(), earlier)

    assert later.node.me.id != earlier.node.me.id
    assert values_in(later, 1) == {"a": b"\x01"}
    assert values_in(later, 2) is None
    assert later.commit((Change(some_key(2), {"a": b"\x02"}),)) is None, "it stays ended"
    assert hash_after(later, Change(some_key(1), {"a": b"\x02"})) == some_hash(1)


def test_threads_lose_no_write() -> None:
    member = LocalMember(some_settings(), None)
    member.commit((birth(),))
    threads, writes = 8, 50

    def request(thread: int) -> None:
        for number in range(writes):
            assert opened(member) is not None
            member.commit((Change(some_key(), {f"{thread} {number}": b"\x01"}),))

    running = [
        threading.Thread(target=request, args=(number,), daemon=True) for number in range(threads)
    ]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join(PATIENCE_S)

    assert values_in(member) == {
        f"{thread} {number}": b"\x01" for thread in range(threads) for number in range(writes)
    }


# Waiting.


@pytest.fixture
def wired(monkeypatch: pytest.MonkeyPatch) -> Wired:
    """Two members that are ready, driven by the test."""
    return Wired(monkeypatch, 1, 2)


def ask_all(member: LocalMember, number: int = 1) -> Waiter:
    committed = member.commit((birth(number, a=b"\x01"),), Asked("all"))
    assert committed is not None and committed.waiter is not None
    return committed.waiter


def test_a_commit_says_what_its_client_has_seen_then() -> None:
    member = LocalMember(None, None)
    first = member.commit((birth(a=b"\x01"),))
    second = member.commit((Change(some_key(), {"a": b"\x02"}),))
    assert first is not None and second is not None
    (before,), (after,) = first.seen.items(), second.seen.items()

    assert before[0] == after[0] == member.node.me.id
    assert before[1] < after[1]


def test_who_waits_for_others_goes_on_when_the_driver_says_so(wired: Wired) -> None:
    member = wired.channel("m1").member
    wired.network.hold("m2", Acknowledge)
    waiter = ask_all(member)
    assert not waiter.is_over
    assert list(member.waiters.values()) == [waiter]
    wired.network.release("m2")

    assert waiter.is_over and waiter.ticket.is_met
    assert member.waiters == {}


def test_a_ticket_that_is_done_as_it_is_opened_is_waited_for_by_nobody() -> None:
    member = LocalMember(None, None)
    one = member.commit((birth(a=b"\x01"),), Asked("one"))
    every = member.commit((birth(2, a=b"\x01"),), Asked("all"))
    assert one is not None and one.waiter is not None
    assert every is not None and every.waiter is not None

    assert (one.waiter.is_over, one.waiter.ticket.is_met) == (True, False)
    assert (every.waiter.is_over, every.waiter.ticket.is_met) == (True, True)
    assert member.waiters == {}


def test_when_the_driver_ends_everybody_goes_on(wired: Wired) -> None:
    member = wired.channel("m1").member
    wired.network.hold("m2")
    ticket, lookup = ask_all(member), member.open(some_identity(9), NOTHING_SEEN)
    assert isinstance(lookup, Waiter) and not (ticket.is_over or lookup.is_over)
    member.release()

    assert ticket.is_over and lookup.is_over
    assert not ticket.ticket.is_met
    assert member.waiters == {}


def test_without_a_driver_no_request_waits_for_what_others_have(wired: Wired) -> None:
    member = wired.channel("m1").member
    member.wake = nothing

    assert opened(member, some_identity(9)) is None
    member.commit((birth(a=b"\x01"),))
    behind = member.open(some_identity(), Seen({b"elsewher": 1 << 60}, 1 << 60))
    assert isinstance(behind, Loaded) and behind.stale is not None
    assert behind.stale.clock == 1 << 60


def test_without_a_driver_no_commit_waits_for_others(wired: Wired) -> None:
    member = wired.channel("m1").member
    member.wake = nothing
    waiter = ask_all(member)

    assert waiter.is_over
    assert not waiter.ticket.is_met


def test_what_was_committed_earlier_is_sent_once_more(wired: Wired) -> None:
    member = wired.channel("m1").member
    member.commit((birth(a=b"\x01"),))
    before = len(wired.network.frames_of("m1", Deltas))
    waiter = member.acknowledgement(some_key(), Asked("all"))

    assert waiter.is_over and waiter.ticket.is_met
    assert len(wired.network.frames_of("m1", Deltas)) == before + 1


def test_a_reserved_stamp_is_covered_by_the_next_commit() -> None:
    member = LocalMember(None, None)
    new = member.reserve(some_key())
    member.commit((birth(a=b"\x01"),))
    later = member.reserve(some_key())
    committed = member.commit((Change(some_key(), {}),))
    assert committed is not None
    me = member.node.me.id

    assert new.clock == new.version[me] < later.version[me] == later.clock < committed.seen[me]


def test_an_unknown_session_is_looked_up_elsewhere_and_found(wired: Wired) -> None:
    one, two = (wired.channel(name).member for name in ("m1", "m2"))
    wired.network.hold("m1", Deltas)
    one.commit((birth(a=b"\x01"),))
    waiter = two.open(some_identity(), NOTHING_SEEN)
    assert isinstance(waiter, Waiter)
    wired.network.run(0.0)
    assert waiter.is_over
    loaded = two.opened_at_last(some_identity(), waiter.lookup)

    assert loaded is not None and loaded.stale is None
    assert loaded.values["a"] == b"\x01"


def test_alone_requests_keep_the_time(clock: Callable[[float], None]) -> None:
    member = LocalMember(None, None)
    member.node.report("/")
    limits = encoded_limits(SessionLimits(60, None))
    member.commit((birth(1), Change(some_key(1), {INTERVAL: limits})))
    assert values_in(member, 1) == {}

    clock(61)
    assert values_in(member, 1) is None
    for _ in range(600):
        clock(1)
        values_in(member, 2)

    assert member.told == [BecameReady(), SessionExpired(some_key(1), some_hash(1))]


def test_the_age_of_a_session_is_told_though_it_is_over(clock: Callable[[float], None]) -> None:
    member = LocalMember(None, None)
    assert member.age_s(some_key()) == 0.0
    member.commit((birth(n=b"1"),))
    clock(5000.0)
    assert opened(member) is None
    assert member.age_s(some_key()) == pytest.approx(5000.0)


def test_with_others_the_driver_keeps_the_time(clock: Callable[[float], None]) -> None:
    settings = some_settings()
    member = LocalMember(settings, None)
    member.commit((birth(1),))

    clock(100_000)

    assert values_in(member, 1) is None
    assert member.told == []
    assert settings.node == NodeConfig(timing=settings.node.timing)
    assert settings.node.timing != Timing()
