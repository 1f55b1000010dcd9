"""The status of a process's member: what its channel adds, and sessions that are counted."""

from __future__ import annotations

import os
import time

import pytest

import replsession
from replsession.channel.channel import Channel
from replsession.channel.member import LocalMember
from replsession.channel.status import Census, library_version, status_steps
from replsession.channel.steps import at_once
from replsession.session.store import BUCKETS
from tests.channel.running import Host, some_settings, until, write
from tests.channel.test_administration import begin


def test_a_process_alone() -> None:
    channel = Channel(None)
    begin(channel.member, 1, "anna")
    begin(channel.member, 2, context="/shop")
    status = at_once(status_steps(channel))
    me = status.member
    assert (me.pid, me.cluster, me.state, me.ready) == (os.getpid(), "", "ready", True)
    assert me.version == library_version()
    assert [(one.context, one.live) for one in status.sessions] == [("/", 1), ("/shop", 1)]
    assert "anna" not in str(status)


def test_before_the_start_and_after_the_stop(thread_host: Host) -> None:
    channel = thread_host.channel(some_settings())
    assert at_once(status_steps(channel)).member.state == "not started"
    thread_host.start(channel)
    thread_host.stop(channel)
    assert at_once(status_steps(channel)).member.state == "stopped"


def test_two_members_see_each_other(host: Host) -> None:
    settings = some_settings()
    first = host.started(settings)
    write(first, birth=True, x=b"\x01")
    second = host.started(settings)
    until(lambda: at_once(status_steps(first)).others, "the other is seen")
    (seen,) = at_once(status_steps(first)).others
    mine = at_once(status_steps(second))
    assert (seen.id, seen.state) == (mine.member.id, "up")
    assert (mine.member.cluster, mine.member.ready) == (settings.name, True)
    assert (mine.transfer.state, mine.transfer.sessions) == ("received", 1)
    assert [one.live for one in mine.sessions] == [1]


def test_the_lock_is_free_between_two_steps() -> None:
    member = LocalMember(None, None)
    begin(member, 1)
    census = Census()
    steps = 0
    for _ in census.steps(member):
        steps += 1
        assert not member.lock.locked()
    assert (steps, census.counts["/"].live) == (BUCKETS, 1)


def test_it_is_counted_anew_only_as_often_as_a_part_of_the_time_allows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    member, census = LocalMember(None, None), Census()
    begin(member, 1)
    for _ in census.steps(member):
        now += 0.01
    # The seconds of counting count, not those in between.
    assert census.counted_at == pytest.approx(1002.56)
    begin(member, 2)
    now += 0.001
    at_once(census.steps(member))
    assert census.counts["/"].live == 2

    census._again_at = now + 5
    begin(member, 3)
    at_once(census.steps(member))
    assert census.counts["/"].live == 2
    now += 5
    at_once(census.steps(member))
    assert census.counts["/"].live == 3


def test_the_version_is_that_of_the_library() -> None:
    assert library_version() == replsession.__version__
