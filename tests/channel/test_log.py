"""Each event is one line for each context, in the words that the design prescribes."""

from __future__ import annotations

import logging
import time

import pytest

from replsession import events as e
from replsession.channel.log import (
    log_commit,
    log_event,
    log_namesakes,
    log_start,
    log_tls_refused,
)
from replsession.channel.repeats import Repeats
from replsession.config import ClusterSettings, Timing
from replsession.identity import Address, Key, hash_of_secret, public_id
from replsession.metrics import Metrics
from replsession.session.change import Change

MEMBER = e.Member(
    bytes(range(8)), "right-4001", 1795500000000, Address("127.0.0.1", 4001), True, 95
)
SHOWN = "tls://127.0.0.1:4001 name=right-4001 id=0001020304050607 incarnation=1795500000000"
CONTEXTS = ("/examples", "/")
KEY, SECRET_HASH = Key("/examples", bytes(range(12))), hash_of_secret(bytes(16))
NAMED = public_id(KEY.locator, SECRET_HASH)[:8]
SENT_AT_MS = 1795500000042


def sent_at() -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(1795500000)) + ".042"


def received(sessions: int, octets: int) -> e.StateReceived:
    return e.StateReceived(
        MEMBER, SENT_AT_MS, 0.1014, {"/examples": sessions}, {"/examples": octets}
    )


@pytest.mark.parametrize(
    ("event", "level", "logger", "lines"),
    [
        (
            e.MemberJoined(MEMBER),
            logging.INFO,
            "membership",
            [f"Replication member added: {SHOWN} alive=95 ms"],
        ),
        (
            e.MemberLeft(MEMBER, "connection refused"),
            logging.INFO,
            "membership",
            [f"Received member disappeared: {SHOWN} alive=95 ms (connection refused)"],
        ),
        (
            e.MemberLeft(MEMBER, "silent for 3.0 s"),
            logging.INFO,
            "membership",
            [f"Received member disappeared: {SHOWN} alive=95 ms (silent for 3.0 s)"],
        ),
        (
            e.MemberUnreachable(MEMBER, e.Member(bytes(8), "third", 1, Address("10.0.0.3", 4000))),
            logging.WARNING,
            "membership",
            [f"Member {SHOWN} alive=95 ms cannot be reached, but through third"],
        ),
        (
            e.StateProgress(MEMBER, 0.371, {"/": 12345}, {"/": 2048}),
            logging.INFO,
            "manager",
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
            "membership",
            [f"Member {SHOWN} alive=95 ms can be reached again"],
        ),
        (
            e.StateRequested(MEMBER),
            logging.WARNING,
            "manager",
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
            "manager",
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
            "manager",
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
            "manager",
            [
                f"Manager [{context}]: skipping state transfer. No members active in cluster group."
                for context in CONTEXTS
            ],
        ),
        (
            e.StateGivenUp(60.0004),
            logging.ERROR,
            "manager",
            [
                f"Manager [{context}]: no session state received, timing out after 60000 ms."
                for context in CONTEXTS
            ],
        ),
        (
            e.DonorLost(MEMBER, "stalled"),
            logging.WARNING,
            "manager",
            ["Session state from right-4001: donor lost (stalled)"],
        ),
        (e.BecameReady(), logging.INFO, "cluster", ["Member is ready"]),
        (
            e.LinkRefused(Address("192.0.2.9", 50123), "unknown kind of message 99"),
            logging.ERROR,
            "receiver",
            ["Link with 192.0.2.9:50123 closed: unknown kind of message 99"],
        ),
        (
            e.OutboxOverflowed(MEMBER, 20_001),
            logging.WARNING,
            "sender",
            ["Member right-4001 is too slow: 20001 deltas thrown away, repair will level out"],
        ),
        (
            e.MemberSuspected(MEMBER, "connection closed"),
            logging.INFO,
            "membership",
            [
                f"Received memberDisappeared[{SHOWN} alive=95 ms] message. Will verify. "
                "(connection closed)"
            ],
        ),
        (
            e.MemberVerified(MEMBER, e.STILL_ALIVE),
            logging.INFO,
            "membership",
            [f"Verification complete. Member still alive[{SHOWN} alive=95 ms]"],
        ),
        (
            e.MemberVerified(MEMBER, e.DISAPPEARED),
            logging.INFO,
            "membership",
            [f"Verification complete. Member disappeared[{SHOWN} alive=95 ms]"],
        ),
        (
            e.DialFailed(Address("10.0.0.2", 4000), "no answer"),
            logging.WARNING,
            "sender",
            [
                "Member send is failing for: [tls://10.0.0.2:4000]; it is heard, but: no answer. "
                "Retrying."
            ],
        ),
        (
            e.HeartbeatRefused("10.0.0.9", "a heartbeat that names another host"),
            logging.WARNING,
            "receiver",
            ["Discarded the package from 10.0.0.9: a heartbeat that names another host"],
        ),
        (
            e.SessionMessage("delta", KEY, SECRET_HASH, bytes(range(8))),
            logging.DEBUG,
            "messages",
            [
                f"Manager [/examples]: received session delta message for session [{NAMED}] "
                "from member 0001020304050607"
            ],
        ),
        (
            e.SessionMessage("access", KEY, SECRET_HASH, None),
            logging.DEBUG,
            "messages",
            [f"Manager [/examples]: create session access message for session [{NAMED}]"],
        ),
    ],
)
def test_the_lines_of_an_event(
    caplog: pytest.LogCaptureFixture, event: e.Event, level: int, logger: str, lines: list[str]
) -> None:
    caplog.set_level(logging.DEBUG, "replsession")

    log_event(event, CONTEXTS, Timing())

    assert caplog.messages == lines
    assert {record.levelno for record in caplog.records} == {level}
    assert {record.name for record in caplog.records} == {f"replsession.{logger}"}


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
        e.MemberSuspected(forged, "x\ny"),
        e.MemberSuspected(forged, e.SEND_FAILING),
        e.MemberVerified(forged, e.DISAPPEARED),
        e.LinkRefused(forged.address, "x\ny"),
        e.DialFailed(forged.address, "x\ny"),
        e.HeartbeatRefused("x\ny", "x\ny"),
        e.SessionMessage("delta", Key("/x\ny", bytes(12)), b"", bytes(8)),
    ):
        log_event(event, ["/"], Timing())

    assert [message for message in caplog.messages if len(message.splitlines()) > 1] == []


def test_a_member_to_which_nothing_can_be_sent_is_a_line_of_its_own(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, "replsession")

    log_event(e.MemberSuspected(MEMBER, e.SEND_FAILING), CONTEXTS, Timing())

    failing, verifies = caplog.record_tuples
    assert failing == (
        "replsession.sender",
        logging.WARNING,
        f"Member send is failing for: [{SHOWN} alive=95 ms]; Setting to suspect and retrying.",
    )
    assert verifies[2].endswith("Will verify. (acknowledges nothing)")


def test_what_repeats_is_counted_and_a_change_of_state_never_is(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "replsession")
    metrics = Metrics()
    repeats = Repeats(metrics)
    for number in range(50):
        for event in (
            # From another port each time, and in other words.
            e.LinkRefused(Address("192.0.2.9", 50_000 + number), f"unknown kind {number}"),
            e.OutboxOverflowed(MEMBER, number),
            e.DialFailed(Address("10.0.0.2", 4000), "no answer"),
            e.HeartbeatRefused("10.0.0.9", f"wrong {number}"),
            e.MemberJoined(MEMBER),
            e.MemberLeft(MEMBER, "silent"),
            e.MemberSuspected(MEMBER, "silent"),
            e.MemberVerified(MEMBER, e.STILL_ALIVE),
            e.MemberUnreachable(MEMBER, MEMBER),
            e.MemberReachable(MEMBER),
            e.DonorLost(MEMBER, "stalled"),
        ):
            log_event(event, CONTEXTS, Timing(), repeats)

    assert len(caplog.messages) == 4 + 7 * 50
    assert metrics.log_lines_suppressed == 4 * 49


def test_the_lines_of_a_start(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "replsession")
    settings = ClusterSettings("shop", seeds=("10.0.0.5", "members.internal"))

    log_start(settings, Address("10.0.0.1", 4000), Timing())

    assert caplog.messages == [
        "Receiver server socket bound to /10.0.0.1:4000",
        "Membership on multicast 228.0.0.4:45564, heartbeat every 500 ms, drop after 3000 ms",
        "Sleeping for up to 1000 milliseconds to establish cluster membership",
        "Membership on seeds 10.0.0.5, members.internal",
    ]


def test_whoever_listens_there_with_another_secret_is_named(
    caplog: pytest.LogCaptureFixture,
) -> None:
    repeats = Repeats(Metrics())
    for _ in range(3):
        log_tls_refused(Address("10.0.0.2", 4000), "TLS refused: bad certificate", repeats)

    assert caplog.messages == [
        "Failed to authenticate the member at 10.0.0.2:4000: TLS refused: bad certificate. "
        "Has it another secret, or cluster name?"
    ]


def test_two_members_of_one_name_are_told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "replsession")
    me = e.Member(bytes(8), "left-4000", 1, Address("10.0.0.1", 4000))
    namesake = e.Member(b"namesake", MEMBER.name, 1, Address("10.0.0.3", 4000))
    log_namesakes(MEMBER, (me, MEMBER))
    assert caplog.messages == []

    log_namesakes(MEMBER, (me, MEMBER, namesake))
    assert caplog.messages == [
        "Members at 10.0.0.3:4000 and 127.0.0.1:4001 have the same name, right-4001: a write "
        "concern counts them as one. Set member_name"
    ]


def test_what_a_commit_makes(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "replsession.messages")
    changes = (
        Change(KEY, {}, destroy=True),
        Change(KEY, {"a": b"\x01"}, birth=True),
        Change(Key("\0principals", bytes(12)), {}),
    )

    log_commit(changes, SECRET_HASH, 7)

    assert caplog.messages == [
        f"Manager [/examples]: create session expire message for session [{NAMED}]",
        f"Created a new session with Id [{NAMED}] Total count=[7]",
        f"Manager [/examples]: create delta request message for session [{NAMED}]",
    ]
