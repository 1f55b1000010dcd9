"""Each event is one line for each context, in the words that the design prescribes."""

from __future__ import annotations

import logging
import time

import pytest

from replsession import events as e
from replsession.channel.log import LOGGER, log_event
from replsession.config import Timing
from replsession.identity import Address, Key

MEMBER = e.Member(
    bytes(range(8)), "right-4001", 1795500000000, Address("127.0.0.1", 4001), True, 95
)
SHOWN = "tls://127.0.0.1:4001 name=right-4001 id=0001020304050607 incarnation=1795500000000"
CONTEXTS = ("/examples", "/")
SENT_AT_MS = 1795500000042


def sent_at() -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(1795500000)) + ".042"


def received(sessions: int, octets: int) -> e.StateReceived:
    return e.StateReceived(
        MEMBER, SENT_AT_MS, 0.1014, {"/examples": sessions}, {"/examples": octets}
    )


@pytest.mark.parametrize(
    ("event", "level", "lines"),
    [
        (
            e.MemberJoined(MEMBER),
            logging.INFO,
            [f"Replication member added: {SHOWN} alive=95 ms"],
        ),
        (
            e.MemberLeft(MEMBER, "connection refused"),
            logging.INFO,
            [f"Received member disappeared: {SHOWN} alive=95 ms (connection refused)"],
        ),
        (
            e.MemberLeft(MEMBER, "silent for 3.0 s"),
            logging.INFO,
            [f"Received member disappeared: {SHOWN} alive=95 ms (silent for 3.0 s)"],
        ),
        (
            e.MemberUnreachable(MEMBER, e.Member(bytes(8), "third", 1, Address("10.0.0.3", 4000))),
            logging.WARNING,
            [f"Member {SHOWN} alive=95 ms cannot be reached, but through third"],
        ),
        (
            e.StateProgress(MEMBER, 0.371, {"/": 12345}, {"/": 2048}),
            logging.INFO,
            [
                "Manager [/examples]: receiving session state from right-4001, 37 % so far "
                "(0 sessions, 0 bytes).",
                "Manager [/]: receiving session state from right-4001, 37 % so far "
                "(12 345 sessions, 2 048 bytes).",
            ],
        ),
        (
            e.MemberReachable(MEMBER),
            logging.INFO,
            [f"Member {SHOWN} alive=95 ms can be reached again"],
        ),
        (
            e.StateRequested(MEMBER),
            logging.WARNING,
            [
                f"Manager [{context}]: requesting session state from {SHOWN} alive=95 ms. "
                "This operation will time out if no session state has been received within "
                "60 seconds."
                for context in CONTEXTS
            ],
        ),
        (
            received(12, 3480),
            logging.INFO,
            [
                f"Manager [/examples]: session state sent at {sent_at()} received in 101 ms "
                "(12 sessions, 3 480 bytes).",
                f"Manager [/]: session state sent at {sent_at()} received in 101 ms "
                "(0 sessions, 0 bytes).",
            ],
        ),
        (
            received(1_234_567, 890),
            logging.INFO,
            [
                f"Manager [/examples]: session state sent at {sent_at()} received in 101 ms "
                "(1 234 567 sessions, 890 bytes).",
                f"Manager [/]: session state sent at {sent_at()} received in 101 ms "
                "(0 sessions, 0 bytes).",
            ],
        ),
        (
            e.StateSkipped(),
            logging.INFO,
            [
                f"Manager [{context}]: skipping state transfer. No members active in cluster group."
                for context in CONTEXTS
            ],
        ),
        (
            e.StateGivenUp(60.0004),
            logging.ERROR,
            [
                f"Manager [{context}]: no session state received, timing out after 60000 ms."
                for context in CONTEXTS
            ],
        ),
        (
            e.DonorLost(MEMBER, "stalled"),
            logging.WARNING,
            ["Session state from right-4001: donor lost (stalled)"],
        ),
        (e.BecameReady(), logging.INFO, ["Member is ready"]),
        (
            e.LinkRefused(Address("192.0.2.9", 50123), "unknown kind of message 99"),
            logging.WARNING,
            ["Link with 192.0.2.9:50123 closed: unknown kind of message 99"],
        ),
        (
            e.OutboxOverflowed(MEMBER, 20_001),
            logging.WARNING,
            ["Member right-4001 is too slow: 20001 deltas thrown away, repair will level out"],
        ),
    ],
)
def test_the_lines_of_an_event(
    caplog: pytest.LogCaptureFixture, event: e.Event, level: int, lines: list[str]
) -> None:
    caplog.set_level(logging.DEBUG, "replsession")

    log_event(event, CONTEXTS, Timing())

    assert caplog.messages == lines
    assert {record.levelno for record in caplog.records} == {level}
    assert {record.name for record in caplog.records} == {"replsession"} == {LOGGER.name}


def test_events_of_sessions_belong_to_listeners(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "replsession")
    key = Key("/examples", bytes(12))

    log_event(e.SessionExpired(key, bytes(16)), CONTEXTS, Timing())
    log_event(
        e.SessionChanged(key, bytes(16), created=True, destroyed=False, changes=()),
        CONTEXTS,
        Timing(),
    )

    assert caplog.messages == []


def test_the_bound_in_the_line_is_the_configured_one(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "replsession")

    log_event(e.StateRequested(MEMBER), ["/"], Timing(transfer_timeout_s=2.5))

    assert caplog.messages[0].endswith("no session state has been received within 2.5 seconds.")


def test_no_line_holds_a_line_break_of_another_s_making(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "replsession")
    forged = e.Member(bytes(8), "x\nINFO:root:all is well", 1, Address("127.0.0.1\r\n", 4001))

    for event in (
        e.MemberJoined(forged),
        e.MemberLeft(forged, "said goodbye"),
        e.MemberUnreachable(forged, forged),
        e.MemberReachable(forged),
        e.StateRequested(forged),
        e.DonorLost(forged, "stalled"),
        e.OutboxOverflowed(forged, 1),
    ):
        log_event(event, ["/"], Timing())

    assert [message for message in caplog.messages if len(message.splitlines()) > 1] == []
