"""
The log: each event in one place, one line each, in words that an administrator of Tomcat knows.

docs/log.md has all lines, with their loggers and levels; a test compares it with the code. A line
is a text that stands right in a call of a logger below, so that it can be found by searching.

*Source*: the lines of ``SimpleTcpCluster``, ``DeltaManager``, ``ReceiverBase``,
``McastServiceImpl``, ``TcpFailureDetector`` and ``ParallelNioSender``.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable

from replsession import events as e
from replsession.channel.repeats import Repeats, one_line
from replsession.config import ClusterSettings, Timing
from replsession.identity import Address, Key, public_id, short
from replsession.metrics import Metrics
from replsession.session.change import Change

CLUSTER = logging.getLogger("replsession.cluster")
"""Start, stop, and whether this member is ready."""
MEMBERSHIP = logging.getLogger("replsession.membership")
"""Who is there, how that is found out, and multicast."""
RECEIVER = logging.getLogger("replsession.receiver")
"""Where this member listens, and what is wrong with what comes in."""
SENDER = logging.getLogger("replsession.sender")
"""What cannot be sent, or is not acknowledged in time."""
MANAGER = logging.getLogger("replsession.manager")
"""An application's sessions: state transfer, values, shutdown."""
VALVE = logging.getLogger("replsession.valve")
"""Requests on filtered paths."""
LISTENERS = logging.getLogger("replsession.listeners")
"""Listeners of the application that fail or fall behind."""
MESSAGES = logging.getLogger("replsession.messages")
"""DEBUG: every message about a session."""
CONTROL = logging.getLogger("replsession.control")
"""What administrators ask of this member, over its socket or a URL."""
REQUESTS = logging.getLogger("replsession.requests")
"""DEBUG: how long requests take, and how much of it is ours."""


def log_start(settings: ClusterSettings, address: Address, timing: Timing) -> None:
    """Say where this member listens and meets the others."""
    RECEIVER.info("Receiver server socket bound to /%s", address)
    if settings.multicast is not None:
        MEMBERSHIP.info(
            "Membership on multicast %s:%d, heartbeat every %d ms, drop after %d ms",
            *settings.multicast,
            round(timing.heartbeat_interval_s * 1000),
            round(timing.drop_after_s * 1000),
        )
    MEMBERSHIP.info(
        "Sleeping for up to %d milliseconds to establish cluster membership",
        round(timing.discovery_s * 1000),
    )
    if settings.seeds:
        MEMBERSHIP.info("Membership on seeds %s", ", ".join(settings.seeds))


def log_event(
    event: e.Event, contexts: Iterable[str], timing: Timing, repeats: Repeats | None = None
) -> None:
    """
    Write the line, or the lines, of one event; what listeners hear has none.

    Args:
        event: What happened.
        contexts: Applications of this member.
        timing: Of this member.
        repeats: Counts what repeats; None: everything is written.
    """
    match event:
        case e.SessionChanged() | e.SessionExpired():
            return
        case e.SessionMessage():
            _log_message(event)
        case e.LinkRefused() | e.HeartbeatRefused() | e.OutboxOverflowed() | e.DialFailed():
            _log_trouble(event, repeats or Repeats(Metrics()))
        case (
            e.StateRequested()
            | e.StateProgress()
            | e.StateReceived()
            | e.StateSkipped()
            | e.StateGivenUp()
        ):
            for context in contexts:
                _log_transfer(event, context, timing)
        case _:
            _log_change(event)


def _log_change(event: e.Event) -> None:
    match event:
        case e.MemberJoined(member):
            MEMBERSHIP.info("Replication member added: %s", one_line(member))
        case e.MemberSuspected(member, reason):
            if reason == e.SEND_FAILING:
                SENDER.warning(
                    "Member send is failing for: [%s]; Setting to suspect and retrying.",
                    one_line(member),
                )
            MEMBERSHIP.info(
                "Received memberDisappeared[%s] message. Will verify. (%s)",
                one_line(member),
                one_line(reason),
            )
        case e.MemberVerified(member, verdict):
            MEMBERSHIP.info("Verification complete. Member %s[%s]", verdict, one_line(member))
        case e.MemberLeft(member, reason):
            MEMBERSHIP.info(
                "Received member disappeared: %s (%s)", one_line(member), one_line(reason)
            )
        case e.MemberUnreachable(member, via):
            MEMBERSHIP.warning(
                "Member %s cannot be reached, but through %s", one_line(member), one_line(via.name)
            )
        case e.MemberReachable(member):
            MEMBERSHIP.info("Member %s can be reached again", one_line(member))
        case e.DonorLost(donor, reason):
            MANAGER.warning("Session state from %s: donor lost (%s)", one_line(donor.name), reason)
        case e.BecameReady():
            CLUSTER.info("Member is ready")


def _log_trouble(event: e.Event, repeats: Repeats) -> None:
    match event:
        case e.LinkRefused(address, reason):
            # From which port it came is another number each time.
            repeats.warn(
                RECEIVER,
                logging.ERROR,
                address.host,
                "Link with %s closed: %s",
                address,
                reason,
            )
        case e.HeartbeatRefused(source, reason):
            repeats.warn(
                RECEIVER,
                logging.WARNING,
                source,
                "Discarded the package from %s: %s",
                source,
                reason,
            )
        case e.OutboxOverflowed(member, deltas):
            repeats.warn(
                SENDER,
                logging.WARNING,
                member.name,
                "Member %s is too slow: %d deltas thrown away, repair will level out",
                member.name,
                deltas,
            )
        case e.DialFailed(address, reason):
            repeats.warn(
                SENDER,
                logging.WARNING,
                address,
                "Member send is failing for: [tls://%s]; it is heard, but: %s. Retrying.",
                address,
                reason,
            )


def _log_transfer(event: e.Event, context: str, timing: Timing) -> None:
    match event:
        case e.StateRequested(donor):
            MANAGER.warning(
                "Manager [%s]: requesting session state from %s. This operation will time out if "
                "no session state has been received within %g seconds.",
                context,
                one_line(donor),
                timing.transfer_timeout_s,
            )
        case e.StateReceived(donor, sent_at_ms, took_s, sessions, octets):
            MANAGER.info(
                "Manager [%s]: session state sent at %s received in %d ms (%s sessions, %s bytes).",
                context,
                _clock(sent_at_ms),
                round(took_s * 1000),
                _grouped(sessions.get(context, 0)),
                _grouped(octets.get(context, 0)),
            )
        case e.StateProgress(donor, progress, sessions, octets):
            MANAGER.info(
                "Manager [%s]: receiving session state from %s, %d %% so far (%s sessions, %s "
                "bytes).",
                context,
                one_line(donor.name),
                round(progress * 100),
                _grouped(sessions.get(context, 0)),
                _grouped(octets.get(context, 0)),
            )
        case e.StateSkipped():
            MANAGER.info(
                "Manager [%s]: skipping state transfer. No members active in cluster group.",
                context,
            )
        case e.StateGivenUp(waited_s):
            MANAGER.error(
                "Manager [%s]: no session state received, timing out after %d ms.",
                context,
                round(waited_s * 1000),
            )


def log_tls_refused(address: Address, reason: str, repeats: Repeats) -> None:
    """Say that whoever listens at an address is none of ours."""
    repeats.warn(
        SENDER,
        logging.WARNING,
        address,
        "Failed to authenticate the member at %s: %s. Has it another secret, or cluster name?",
        address,
        reason,
    )


def log_namesakes(member: e.Member, all_: Iterable[e.Member]) -> None:
    """Warn if a member that has joined has another one's name: hosts with equal host names."""
    for other in all_:
        if other.name == member.name and other.id != member.id:
            MEMBERSHIP.warning(
                "Members at %s and %s have the same name, %s: a write concern counts them as one. "
                "Set member_name",
                other.address,
                member.address,
                one_line(member.name),
            )


def is_wanted() -> bool:
    """Tell whether anybody wants to read of every message about a session."""
    return MESSAGES.isEnabledFor(logging.DEBUG)


def log_commit(changes: Iterable[Change], secret_hash: bytes, sessions: int) -> None:
    """
    Say which messages a commit makes; only to be called while somebody wants to know.

    Args:
        changes: What a request did.
        secret_hash: Hash of the secret part of the session's id.
        sessions: How many sessions this member has, ended ones included.
    """
    for change in changes:
        key, name = change.key, _named(change.key, secret_hash)
        if key.is_internal:
            continue
        if change.destroy:
            MESSAGES.debug(
                "Manager [%s]: create session expire message for session [%s]",
                one_line(key.context),
                name,
            )
            continue
        if change.birth:
            MESSAGES.debug(
                "Created a new session with Id [%s] Total count=[%d]",
                name,
                sessions,
            )
        MESSAGES.debug(
            "Manager [%s]: create delta request message for session [%s]",
            one_line(key.context),
            name,
        )


def _log_message(event: e.SessionMessage) -> None:
    key = event.key
    if event.sender is None:
        MESSAGES.debug(
            "Manager [%s]: create session %s message for session [%s]",
            one_line(key.context),
            event.kind,
            _named(key, event.secret_hash),
        )
    else:
        MESSAGES.debug(
            "Manager [%s]: received session %s message for session [%s] from member %s",
            one_line(key.context),
            event.kind,
            _named(key, event.secret_hash),
            event.sender.hex(),
        )


def _named(key: Key, secret_hash: bytes) -> str:
    return short(public_id(key.locator, secret_hash))


def _grouped(number: int) -> str:
    return f"{number:,}".replace(",", " ")


def _clock(unix_ms: int) -> str:
    seconds = time.localtime(unix_ms / 1000)
    return f"{time.strftime('%Y-%m-%d %H:%M:%S', seconds)}.{unix_ms % 1000:03d}"
