"""
The log: each event in one place, one line each, in words that an administrator of Tomcat knows.

Logger ``replsession``, level INFO unless said. Source: the lines of ``SimpleTcpCluster``,
``DeltaManager``, ``ReceiverBase`` and ``McastServiceImpl``.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable

from replsession import events as e
from replsession.config import Timing

LOGGER = logging.getLogger("replsession")


def log_event(event: e.Event, contexts: Iterable[str], timing: Timing) -> None:
    """Write the line, or the lines, of one event; session events belong to listeners."""
    match event:
        case e.MemberJoined(member):
            LOGGER.info("Replication member added: %s", _one_line(member))
        case e.MemberLeft(member, reason):
            LOGGER.info("Received member disappeared: %s (%s)", _one_line(member), reason)
        case e.MemberUnreachable(member, via):
            LOGGER.warning(
                "Member %s cannot be reached, but through %s",
                _one_line(member),
                _one_line(via.name),
            )
        case e.MemberReachable(member):
            LOGGER.info("Member %s can be reached again", _one_line(member))
        case e.LinkRefused(address, reason):
            LOGGER.warning("Link with %s closed: %s", address, reason)
        case e.OutboxOverflowed(member, deltas):
            LOGGER.warning(
                "Member %s is too slow: %d deltas thrown away, repair will level out",
                _one_line(member.name),
                deltas,
            )
        case e.DonorLost(donor, reason):
            LOGGER.warning("Session state from %s: donor lost (%s)", _one_line(donor.name), reason)
        case e.BecameReady():
            LOGGER.info("Member is ready")
        case _:
            for context in contexts:
                _log_transfer(event, context, timing)


def _log_transfer(event: e.Event, context: str, timing: Timing) -> None:
    match event:
        case e.StateRequested(donor):
            LOGGER.warning(
                "Manager [%s]: requesting session state from %s. This operation will time out if "
                "no session state has been received within %g seconds.",
                context,
                _one_line(donor),
                timing.transfer_timeout_s,
            )
        case e.StateReceived(donor, sent_at_ms, took_s, sessions, octets):
            LOGGER.info(
                "Manager [%s]: session state sent at %s received in %d ms (%s sessions, %s bytes).",
                context,
                _clock(sent_at_ms),
                round(took_s * 1000),
                _grouped(sessions.get(context, 0)),
                _grouped(octets.get(context, 0)),
            )
        case e.StateProgress(donor, progress, sessions, octets):
            LOGGER.info(
                "Manager [%s]: receiving session state from %s, %d %% so far (%s sessions, %s "
                "bytes).",
                context,
                _one_line(donor.name),
                round(progress * 100),
                _grouped(sessions.get(context, 0)),
                _grouped(octets.get(context, 0)),
            )
        case e.StateSkipped():
            LOGGER.info(
                "Manager [%s]: skipping state transfer. No members active in cluster group.",
                context,
            )
        case e.StateGivenUp(waited_s):
            LOGGER.error(
                "Manager [%s]: no session state received, timing out after %d ms.",
                context,
                round(waited_s * 1000),
            )


def _one_line(told: object) -> str:
    """What a member tells of itself must not look like a line of ours."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(told))


def _grouped(number: int) -> str:
    return f"{number:,}".replace(",", " ")


def _clock(unix_ms: int) -> str:
    seconds = time.localtime(unix_ms / 1000)
    return f"{time.strftime('%Y-%m-%d %H:%M:%S', seconds)}.{unix_ms % 1000:03d}"
