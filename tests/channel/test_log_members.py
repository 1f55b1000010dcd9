"""Lines of the log that real members write: over loopback, each for what it is for."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace

import pytest

from replsession.channel.channel import Channel
from tests.channel.running import (
    HOST,
    QUICK,
    Host,
    free_port,
    has_one_link,
    names_of_others,
    some_settings,
    until,
    write,
)

OTHER_SECRET = "z8Wq2-nBc6VtR1yKl4MxD7sFh9JgP0aE_uXi3ToZrSw"
MESSAGES = "replsession.messages"


@pytest.fixture
def home() -> Iterator[Host]:
    """Members on threads of their own."""
    made = Host("thread")
    yield made
    made.close()


def pair(home: Host) -> tuple[Channel, Channel]:
    """Two members that see each other over one link."""
    settings = some_settings()
    first, second = home.started(settings), home.started(settings)
    until(lambda: has_one_link(first) and has_one_link(second), "both see each other")
    return first, second


def until_said(caplog: pytest.LogCaptureFixture, *pieces: str) -> str:
    """Wait for a line with all of these pieces, and return it."""

    def found() -> list[str]:
        return [line for line in list(caplog.messages) if all(piece in line for piece in pieces)]

    until(found, f"a line with {pieces}")
    return found()[0]


def test_every_message_about_a_session_can_be_read(
    home: Host, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, MESSAGES)
    first, second = pair(home)
    until(lambda: second.member.node.intake.tells_messages, "it has noticed that somebody reads")

    assert write(first, 1, birth=True, a=b"\x01")

    for piece in ("Created a new session with Id [", "]: create delta request message for session"):
        until_said(caplog, piece)
    writer = first.member.node.me.id.hex()
    line = until_said(caplog, "Manager [/]: received session delta message", f"member {writer}")
    assert f"session [{line.partition('session [')[2][:8]}]" in line


def test_nobody_reads_so_nobody_tells(home: Host, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "replsession")
    first, second = pair(home)

    assert write(first, 1, birth=True, a=b"\x01")
    until(lambda: second.metrics.deltas_received, "the write has come")

    assert not second.member.node.intake.tells_messages
    assert "message for session" not in caplog.text


def test_a_member_that_vanishes_is_verified_before_it_is_gone(
    home: Host, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "replsession")
    first, second = pair(home)
    name = f"id={second.member.node.me.id.hex()}"
    network = second._network
    assert network is not None
    # As if its process had been killed: no goodbye.
    network.loop.call_soon_threadsafe(network.abandon)
    until(lambda: not names_of_others(first), "the second is gone")

    told = [
        line.partition("[tls")[0].partition(": tls")[0]
        for line in caplog.messages
        if name in line and ("isappeared" in line or "Verification" in line)
    ]
    assert told == [
        "Received memberDisappeared",
        "Verification complete. Member disappeared",
        "Received member disappeared",
    ]


def test_another_secret_is_named_on_both_sides_and_once(
    home: Host, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "replsession")
    settings = some_settings(replace(QUICK, redial_max_s=0.2))
    first = home.started(settings)
    stranger = replace(settings, secret=OTHER_SECRET, port=free_port(), auto_bind=1)
    home.started(replace(stranger, seeds=(f"{HOST}:{settings.port}",)))

    until_said(caplog, f"Handshake with {HOST}:", " failed: ")
    until_said(caplog, f"Failed to authenticate the member at {HOST}:{settings.port}: TLS refused")
    until_said(caplog, f"Heartbeats from {HOST} are of another cluster, or of this one")
    until(lambda: first.metrics.links_refused > 2, "it has tried again and again")
    failed = [line for line in caplog.messages if line.startswith("Handshake with")]
    assert len(failed) == 1, "the rest is counted"


def test_sessions_that_end_with_their_member(home: Host, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "replsession")
    channel = home.channel(some_settings())
    channel.register("/examples", None, expire_on_stop=True)
    home.start(channel)
    until(lambda: channel.is_ready, "ready")

    home.stop(channel)

    assert "Manager [/examples] expiring sessions upon shutdown" in caplog.messages
