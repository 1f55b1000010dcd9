"""How a member leaves: with a goodbye from each kind of process, and not before it may."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import replace
from multiprocessing import get_context
from multiprocessing.context import ForkContext, SpawnContext

import pytest

from replsession.channel import leaving
from replsession.channel.channel import Channel
from replsession.config import ClusterSettings
from tests.channel.running import (
    Host,
    free_port,
    has_one_link,
    names_of_others,
    some_settings,
    until,
)


def member_for_a_moment(settings: ClusterSettings) -> None:
    """Be a member in a process, and let that end."""
    channel = Channel(settings)
    channel.ensure_started()
    until(lambda: has_one_link(channel), "the other is seen")


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("context", [get_context("fork"), get_context("spawn")])
def test_a_child_of_multiprocessing_says_goodbye(
    thread_host: Host, caplog: pytest.LogCaptureFixture, context: ForkContext | SpawnContext
) -> None:
    caplog.set_level(logging.INFO, "replsession")
    settings = some_settings()
    channel = thread_host.started(settings)
    theirs = replace(settings, port=free_port())
    child = context.Process(target=member_for_a_moment, args=(theirs,))

    child.start()
    child.join(50)

    assert child.exitcode == 0
    until(lambda: not names_of_others(channel), "it is gone")
    until(lambda: "(said goodbye)" in caplog.text, "its goodbye in the log")


def test_the_only_one_with_the_state_stays_until_another_has_it(thread_host: Host) -> None:
    settings = some_settings()
    first, second = thread_host.started(settings), thread_host.started(settings)
    until(lambda: has_one_link(first) and has_one_link(second), "both see each other")
    others = first.member.node.membership.view
    me = second.member.node.me.id
    until(lambda: others.is_ready(me), "it has said that it is ready")

    async def leave() -> bool:
        with first.member.lock:
            others.set_ready(me, False)
        handing = asyncio.ensure_future(leaving.hand_over(first.member))
        await asyncio.sleep(5 * leaving.POLL_S)
        waited = not handing.done()
        with first.member.lock:
            others.set_ready(me, True)
        await handing
        return waited

    assert asyncio.run(leave())


def test_it_does_not_wait_for_nobody_nor_for_ever(
    thread_host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = some_settings()
    first = thread_host.started(settings)
    assert not leaving._is_needed(first.member), "nobody is there to take it"
    second = thread_host.started(settings)
    until(lambda: has_one_link(first) and has_one_link(second), "both see each other")
    view, other = first.member.node.membership.view, second.member.node.me.id
    until(lambda: view.is_ready(other), "it has said that it is ready")
    assert not leaving._is_needed(first.member), "another has it"
    with first.member.lock:
        view.set_ready(other, False)
    monkeypatch.setattr(leaving, "HANDOVER_S", 0.05)

    started = time.monotonic()
    asyncio.run(leaving.hand_over(first.member))

    assert time.monotonic() - started >= 0.05
    assert leaving._is_needed(first.member)
