"""This process's member: what requests do to it, from any thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from replsession.channel.member import LocalMember
from replsession.config import NodeConfig, Timing
from replsession.events import BecameReady, SessionExpired
from replsession.identity import Address
from replsession.session.change import Change
from replsession.session.expiry import SessionLimits, encoded_limits
from replsession.session.record import INTERVAL, SECRET
from tests.channel.running import (
    PATIENCE_S,
    some_hash,
    some_identity,
    some_key,
    some_settings,
)


def birth(number: int = 1, **writes: bytes) -> Change:
    return Change(some_key(number), {SECRET: some_hash(number), **writes}, birth=True)


def values_in(member: LocalMember, number: int = 1) -> dict[str, bytes] | None:
    loaded = member.open(some_identity(number))
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

    assert member.commit((birth(a=b"\x01"),)) == some_hash()

    loaded = member.open(some_identity())
    assert loaded is not None
    assert loaded.values["a"] == b"\x01"
    assert before - 1 <= loaded.created_at <= time.time() + 1
    assert loaded.limits == SessionLimits(1800, None)


def test_an_unknown_session_an_old_id_and_an_ended_one_are_nothing() -> None:
    member = LocalMember(None, None)
    assert member.open(some_identity()) is None
    member.commit((birth(a=b"\x01"),))

    member.commit((Change(some_key(), {SECRET: some_hash(2)}),))
    assert member.open(some_identity()) is None
    assert member.open(some_identity()._replace(secret_hash=some_hash(2))) is not None

    assert member.commit((Change(some_key(), {}, destroy=True),)) == b""
    assert member.open(some_identity()._replace(secret_hash=some_hash(2))) is None
    assert member.commit((Change(some_key(), {"a": b"\x02"}),)) is None


def test_changes_of_one_commit_are_applied_in_their_order() -> None:
    member = LocalMember(None, None)
    member.commit((birth(1, a=b"\x01"),))

    ended_and_born = (Change(some_key(1), {}, destroy=True), birth(2, b=b"\x02"))

    assert member.commit(ended_and_born) == some_hash(2)
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
    assert later.commit((Change(some_key(1), {"a": b"\x02"}),)) == some_hash(1)


def test_threads_lose_no_write() -> None:
    member = LocalMember(some_settings(), None)
    member.commit((birth(),))
    threads, writes = 8, 50

    def request(thread: int) -> None:
        for number in range(writes):
            assert member.open(some_identity()) is not None
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


def test_with_others_the_driver_keeps_the_time(clock: Callable[[float], None]) -> None:
    settings = some_settings()
    member = LocalMember(settings, None)
    member.commit((birth(1),))

    clock(100_000)

    assert values_in(member, 1) is None
    assert member.told == []
    assert settings.node == NodeConfig(timing=settings.node.timing)
    assert settings.node.timing != Timing()
