"""Messages, writes and events in a few words, for the trace."""

from __future__ import annotations

from replsession import messages as m
from replsession.events import (
    DonorLost,
    Event,
    LinkRefused,
    MemberJoined,
    MemberLeft,
    MemberReachable,
    MemberUnreachable,
    OutboxOverflowed,
    SessionChanged,
    SessionExpired,
    StateReceived,
    StateRequested,
)
from replsession.identity import Key, MemberId
from replsession.session.delta import Delta
from replsession.session.stamp import Stamp


def member(member_id: MemberId) -> str:
    """Return a member's id, shortened."""
    return member_id.hex()[:4]


def key(session: Key) -> str:
    """Return a session's key, shortened."""
    return session.locator.hex()[:6]


def stamp(of: Stamp | tuple[int, bytes] | None) -> str:
    """Return a stamp: the lower part of its clock, and its member."""
    if of is None:
        return "none"
    return f"{of[0] >> 16 & 0xFFFFFFF:x}.{of[0] & 0xFFFF:x}@{member(of[1])}"


def delta(of: Delta) -> str:
    """Return a delta: what it is, of which session, what it brings."""
    if of.destroyed is not None:
        return f"end {key(of.key)} {stamp(of.destroyed)} age {of.destroyed_age_s:.1f}"
    names = ",".join(name.replace("\0", "^") for name in of.attributes)
    if of.since is not None:
        since = stamp((of.since, of.writer.member)) if of.since else "first"
        return f"delta {key(of.key)} {since}→{stamp(of.writer)} [{names}]"
    versions = " ".join(stamp((hlc, who)) for who, hlc in of.version.items())
    part = "" if of.piece is None else f" piece {of.piece.number + 1}/{of.piece.pieces}"
    whole = "record" if of.complete else "partial"
    return f"{whole} {key(of.key)}{part} {{{versions}}} [{names}]"


def told(message: m.Message) -> str:
    """Return a message in one line."""
    if isinstance(message, m.Deltas):
        return f"Deltas {message.batch}: " + "; ".join(map(delta, message.deltas))
    if isinstance(message, m.StateChunk):
        return f"StateChunk {message.number} ({message.bucket}): " + "; ".join(
            map(delta, message.records)
        )
    if isinstance(message, m.RecordRequest):
        return "RecordRequest " + " ".join(map(key, message.keys))
    if isinstance(message, m.LeafDigests | m.RecordDigests | m.RepairRequest | m.RepairRecords):
        return repair(message)
    if isinstance(message, m.RepairOffer):
        return f"RepairOffer {message.round}"
    if isinstance(message, m.Neighbours):
        return "Neighbours " + " ".join(f"{x.name}={member(x.member)}" for x in message.members)
    if isinstance(message, m.Inquiry):
        return f"Inquiry {member(message.member)}"
    if isinstance(message, m.Testimony):
        return f"Testimony {member(message.member)} heard {message.heard_ms} ms ago"
    if isinstance(message, m.Hello):
        return f"Hello {message.name} {member(message.member)} ready={message.ready}"
    return str(message)


def repair(message: m.LeafDigests | m.RecordDigests | m.RepairRequest | m.RepairRecords) -> str:
    """Return a message of a repair round in one line."""
    head = f"{type(message).__name__} {message.round}/{message.step}"
    match message:
        case m.LeafDigests():
            return f"{head} of {len(message.leaves)} buckets from {message.first} on"
        case m.RecordDigests():
            digests = " ".join(map(key, message.digests))
            return f"{head}: {len(message.leaves)} leaves, next {message.next}: {digests}"
        case m.RepairRequest():
            keys = "wants " + " ".join(map(key, message.wanted))
        case m.RepairRecords():
            keys = "leaves " + " ".join(map(key, message.left))
    return f"{head} {keys}: " + "; ".join(map(delta, message.records))


def event(of: Event) -> str:
    """Return an event of a node in one line."""
    match of:
        case MemberJoined(joined):
            return f"! {joined.name} {member(joined.id)} is up, ready={joined.ready}"
        case MemberLeft(left, reason):
            return f"! {left.name} {member(left.id)} is gone: {reason}"
        case MemberUnreachable(unreachable, via):
            return f"! {unreachable.name} {member(unreachable.id)} is seen through {via.name} only"
        case MemberReachable(reachable):
            return f"! {reachable.name} {member(reachable.id)} can be reached again"
        case StateRequested(donor):
            return f"! asks {donor.name} for state"
        case StateReceived(donor):
            return f"! has the state of {donor.name}: {sum(of.sessions.values())} sessions"
        case DonorLost(donor, reason):
            return f"! lost its donor {donor.name}: {reason}"
        case LinkRefused(address, reason):
            return f"! refuses a link of {address}: {reason}"
        case OutboxOverflowed(slow, deltas):
            return f"! threw away {deltas} deltas for {slow.name}"
        case SessionChanged():
            what = "created " * of.created + "ended " * of.destroyed
            names = ",".join(name for name, _, _ in of.changes)
            return f"! hears of {key(of.key)}: {what}[{names}]"
        case SessionExpired(expired):
            return f"! {key(expired)} falls asleep"
        case _:
            return f"! {type(of).__name__}"
