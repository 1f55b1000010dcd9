"""
The checkers: each looks for one way in which a promise is broken, and says where.

While a run goes on: REAL, HONEST, PARTIAL, RESURRECT, BOUNDS and GONE after every input, ACKS at an
acknowledgement, CAUSAL at a commit, HEARD at an event, EXACT and STATE (witness.py) at the end of
a repair round and of a state transfer. After the healing: READY, AGREE, NEWEST,
LOST, RESURRECT, LEAK, QUIET. In a run without faults: GAPS. Whatever the core raises is CRASH.
PRINCIPAL is in principals.py; COUNT and FLASH, of what each writer keeps for itself, in
counting.py; those of expiry in aging.py: EARLY, EXPIRED, FLAP.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from replsession.config import Limits
from replsession.events import SessionChanged
from replsession.identity import Key, MemberId
from replsession.messages import RecordDigests
from replsession.node import Node
from replsession.session.delta import Delta
from replsession.session.expiry import is_too_old
from replsession.session.record import Record
from replsession.session.stamp import Stamp
from tests.simulation import telling
from tests.simulation.oracle import Oracle, Written

RECORD_BYTES_MAX = 20_000
"""The most that the workload makes of one session."""
TIMERS_PER_S_MAX = 40
IDLE_BYTES_PER_S_MAX = 1000
NAMES = (
    *("REAL", "HONEST", "PARTIAL", "RESURRECT", "BOUNDS", "ACKS", "CAUSAL", "HEARD"),
    *("READY", "AGREE", "NEWEST", "LOST", "LEAK", "QUIET", "GAPS", "GONE", "CRASH"),
    *("PRINCIPAL", "COUNT", "FLASH", "EXACT", "STATE", "FRESH", "FOUND", "HELD", "PROMPT"),
    *("EARLY", "EXPIRED", "FLAP"),
)


class Failure(Exception):
    """A promise was broken: which checker says so, and where."""

    def __init__(self, checker: str, what: str) -> None:
        super().__init__(f"{checker}: {what}")
        self.checker = checker


@dataclass(frozen=True, slots=True)
class Copy:
    """What the live members hold, for the checks after the healing."""

    name: str
    node: Node
    records: dict[Key, Record]

    @property
    def served(self) -> dict[Key, Record]:
        """The sessions that a request would find."""
        return {key: record for key, record in self.records.items() if is_served(record)}


def is_served(record: Record) -> bool:
    """Tell whether a request would find this record."""
    # Not by asking the record itself, whose answer is what is looked at here.
    return record.complete and record.destroyed is None and not record.asleep


def _fail(checker: str, who: str, key: Key, what: str) -> Failure:
    return Failure(checker, f"{who}: session {telling.key(key)}: {what}")


# After every input, for each session that it touched.


def real(oracle: Oracle, who: str, record: Record) -> None:
    """REAL: every write held was made by somebody, with this stamp and this value."""
    story = oracle.stories.get(record.key)
    if story is None:
        raise _fail("REAL", who, record.key, "nobody ever created it")
    for name, write in record.attributes.items():
        stamp = Stamp(write.hlc, write.member)
        written = story.writes.get(stamp)
        if written is None or name not in written.values:
            what = f"nobody wrote {name!r} at {telling.stamp(stamp)}"
            raise _fail("REAL", who, record.key, what)
        if written.values[name] != write.value:
            what = f"{name!r} of {telling.stamp(stamp)} has another value"
            raise _fail("REAL", who, record.key, what)


def honest(oracle: Oracle, who: str, record: Record) -> None:
    """HONEST: all that the version claims is held, or something newer in its place."""
    story = oracle.stories[record.key]
    for member, hlc in record.version.items():
        for written in story.by_member.get(member, ()):
            if written.stamp.hlc <= hlc and not _holds(record, written.stamp, written.values):
                what = (
                    f"claims {telling.stamp((hlc, member))} without {telling.stamp(written.stamp)}"
                )
                raise _fail("HONEST", who, record.key, what)


def partial(oracle: Oracle, who: str, record: Record) -> None:
    """PARTIAL: a served record has all of its session's birth."""
    story = oracle.stories[record.key]
    if is_served(record) and not _holds(record, story.born, story.birth):
        raise _fail("PARTIAL", who, record.key, "served without its birth")


def resurrect(oracle: Oracle, who: str, node: Node, record: Record) -> None:
    """RESURRECT: a member that knew of a session's end never serves it again."""
    if node.is_ready and is_served(record) and oracle.knew_end(node.me.id, record.key):
        raise _fail("RESURRECT", who, record.key, "served by a member that knew of its end")


def _holds(record: Record, stamp: Stamp, values: dict[str, bytes | None]) -> bool:
    for name in values:
        held = record.attributes.get(name)
        if held is None or held[:2] < stamp:
            return False
    return True


# After every input.


def bounds(who: str, node: Node) -> None:
    """BOUNDS: nothing that waits or is kept grows beyond its limit."""
    limits, links = node.limits, len(node.membership.links)
    _within(who, "wanted records", len(node.intake.wanted), limits.wanted_records_max)
    _within(who, "asked out", len(node.intake.asked_out), limits.wanted_records_max)
    _within(who, "warm records", len(node.store._warm), limits.warm_records_max)
    _within(who, "sleeping bytes", node.store.sleepers.bytes, limits.sleeping_bytes_max)
    _within(who, "notices of expiry", len(node.reaper.notices), limits.expirations_max)
    _within(who, "sessions given up", len(node.reaper.given_up), limits.given_up_max)
    _within(who, "links", links, limits.links_max)
    _within(who, "frame readers", len(node._readers), links)
    members(who, node)
    _within(who, "forgotten members", len(node.store.forgotten), limits.forgotten_max)
    _within(who, "tombstones to send", len(node.intake.stale) + len(node.intake.buried), 0)
    serving = 0
    for peer in node.peers:
        serving += peer.donor is not None
        _within(who, "open pieces", len(peer.assembly._arrived), limits.pieces_open_max)
        waiting, most = len(peer.outbox), limits.outbox_deltas_max
        if waiting > most:
            # A whole record is put in as one, where there is room for its first piece. It may have
            # ended since, so what its pieces are is asked of them.
            pieces = Counter(item.key for item in peer.outbox._items if not item.is_stream)
            most += max(pieces.values(), default=0)
        _within(who, "deltas waiting", waiting, most)
        most = limits.outbox_bytes_max + RECORD_BYTES_MAX
        _within(who, "bytes waiting", peer.outbox._bytes, most)
    _within(who, "transfers", serving, limits.transfers_at_once_max)


def few_digests(who: str, message: RecordDigests, limits: Limits) -> None:
    """BOUNDS: one message of repair names so many records, or those of a single leaf."""
    if len(message.leaves) > 1:
        _within(who, "digests of records", len(message.digests), limits.repair_digests_max)


def members(who: str, node: Node) -> None:
    """BOUNDS of the membership, and GONE: who has said goodbye stays away."""
    part, now = node.membership, node._now
    _within(who, "candidates", len(part.candidates), node.limits.members_max)
    _within(who, "neighbours", len(part.linked_with), len(part.view))
    _within(who, "messages to send", len(part.messages), 0)
    for member, suspect in part.suspicions.suspects.items():
        if now - suspect.until > node.timing.late_timer_s:
            what = f"{telling.member(member)} suspected {now - suspect.since:.1f} s"
            raise Failure("BOUNDS", f"{who}: {what}")
    for member in part.departed:
        if member in part.view or member in part.candidates:
            raise Failure("GONE", f"{who}: {telling.member(member)} is back after its goodbye")


def _within(who: str, what: str, size: int, bound: int) -> None:
    if size > bound:
        raise Failure("BOUNDS", f"{who}: {what} {size}, at most {bound}")


def awake(who: str, timers: int, seconds: float) -> None:
    """BOUNDS: a node does not ask to be woken all the time."""
    if timers > TIMERS_PER_S_MAX * (seconds + 1.0):
        raise Failure("BOUNDS", f"{who}: woken {timers} times in {seconds:.0f} s")


# At an acknowledgement and at a commit.


def acknowledged(
    oracle: Oracle, who: str, applier: Node, batch: Sequence[Delta], retention_s: float
) -> None:
    """
    ACKS: what a member takes for acknowledged is applied where it was sent.

    But for a session that was over there meanwhile: it may be gone, or begun anew, or was refused.
    """
    for delta in batch:
        record = applier.store.peek(delta.key)
        if (
            (delta.destroyed is not None and delta.destroyed_age_s >= retention_s)
            or oracle.let_go(applier.me.id, delta.key)
            or is_too_old(delta)
        ):
            is_fine = True
        elif record is None:
            is_fine = oracle.knew_end(applier.me.id, delta.key)
        elif record.destroyed is not None:
            is_fine = True
        else:
            is_fine = delta.destroyed is None and all(
                name in record.attributes and record.attributes[name][:2] >= write[:2]
                for name, write in delta.attributes.items()
            )
        if not is_fine:
            raise _fail("ACKS", who, delta.key, f"{telling.delta(delta)} is not applied there")


def causal(who: str, key: Key, written: Written) -> None:
    """CAUSAL: a write is above everything that its writer had read."""
    if written.stamp.hlc <= written.read:
        what = f"{telling.stamp(written.stamp)} is not above what its writer had read"
        raise _fail("CAUSAL", who, key, what)


# At an event.


def heard(
    heard_before: dict[tuple[MemberId, Key], list[str]],
    who: str,
    member: MemberId,
    event: SessionChanged,
) -> None:
    """HEARD: listeners hear of a session's creation once, of its end once, and of nothing after."""
    earlier = heard_before.setdefault((member, event.key), [])
    if "ended" in earlier:
        raise _fail("HEARD", who, event.key, "news after its end")
    if event.created:
        if earlier:
            raise _fail("HEARD", who, event.key, "created after other news of it")
        earlier.append("created")
    if event.destroyed:
        earlier.append("ended")


# After the healing.


def ready(copies: Sequence[Copy]) -> None:
    """READY: every live member serves."""
    for copy in copies:
        if not copy.node.is_ready:
            raise Failure("READY", f"{copy.name} is not ready")
        up = [member.id for member in copy.node.membership.view if member.ready]
        for other in copies:
            if other is not copy and other.node.me.id not in up:
                raise Failure("READY", f"{copy.name} does not see {other.name} up and ready")
        if len(copy.node.membership.view) != len(copies) - 1:
            raise Failure("READY", f"{copy.name} sees somebody who is not there")
        for member in copy.node.membership.view.unreachable:
            raise Failure("READY", f"{copy.name} sees {member.name} through others only")


def agree(copies: Sequence[Copy]) -> None:
    """AGREE: all members serve the same sessions with the same attributes, stamps and values."""
    first = copies[0]
    for other in copies[1:]:
        for key in {**first.served, **other.served}:
            here, there = first.served.get(key), other.served.get(key)
            if here is None or there is None:
                who = (first if here is None else other).name
                raise _fail("AGREE", who, key, "not served here, but elsewhere")
            if here.attributes != there.attributes:
                raise _fail("AGREE", other.name, key, f"not as on {first.name}")


def newest(copies: Sequence[Copy], due: dict[Key, dict[str, Stamp]]) -> None:
    """NEWEST: of every attribute, the newest write that a living member made or held is there."""
    for copy in copies:
        for key, stamps in due.items():
            record = copy.served.get(key)
            for name, stamp in stamps.items() if record is not None else ():
                assert record is not None
                held = record.attributes.get(name)
                if held is None or held[:2] < stamp:
                    what = f"{name!r} is older than {telling.stamp(stamp)}"
                    raise _fail("NEWEST", copy.name, key, what)


def lost(copies: Sequence[Copy], due: dict[Key, dict[str, Stamp]], oracle: Oracle) -> None:
    """
    LOST: a session that a living member had, and that nobody ended, is there.

    Not one that may be over by now: those in *due* have no limits, or are touched all the time.
    """
    for copy in copies:
        for key in due:
            story = oracle.stories[key]
            if not story.ends and not story.buried and key not in copy.served:
                raise _fail("LOST", copy.name, key, "not there, and nobody ended it")


def buried(oracle: Oracle, is_long: bool) -> None:
    """
    LOST: rule 1 ends no session but at its known cost.

    That is a session unknown to a member for longer than tombstones last, whose birth member also
    bore a later one that ended.
    """
    for key, story in oracle.stories.items():
        if story.buried and not story.ends and not (is_long and oracle.is_overtaken(story)):
            raise _fail("LOST", "all", key, "ended by nobody")


def stay_dead(copies: Sequence[Copy], dead: Sequence[Key]) -> None:
    """RESURRECT: what ended, and a living member knew it, is served nowhere."""
    for copy in copies:
        for key in dead:
            if key in copy.served:
                raise _fail("RESURRECT", copy.name, key, "served after everybody had met again")


def leak(copies: Sequence[Copy]) -> None:
    """LEAK: after retention no tombstone is left."""
    for copy in copies:
        for key, record in copy.records.items():
            if record.destroyed is not None:
                raise _fail("LEAK", copy.name, key, "still remembered as ended")


def is_drained(copies: Sequence[Copy]) -> bool:
    """
    Tell whether there is nothing left to send: all is acknowledged, and nobody lacks anything.

    Also of partial records, which are no part of what all must agree on, but of repair.
    """
    outboxes = [peer.outbox for copy in copies for peer in copy.node.peers]
    awake = [
        {key: record.digest() for key, record in copy.records.items() if not record.asleep}
        for copy in copies
    ]
    return (
        not any(len(outbox) or outbox.in_flight for outbox in outboxes)
        and not any(copy.node.intake.wanted for copy in copies)
        and all(other == awake[0] for other in awake)
    )


@dataclass(frozen=True, slots=True)
class Quiet:
    """What must not move while nothing happens."""

    deltas_sent: int
    records_repaired: int
    records_requested: int
    links: tuple[int, ...]
    members: tuple[MemberId, ...]


def stillness(node: Node) -> Quiet:
    """Return what must not move, as it is now."""
    return Quiet(
        node.metrics.deltas_sent,
        node.metrics.records_repaired,
        node.metrics.records_requested,
        tuple(sorted(node.membership.links)),
        tuple(sorted(member.id for member in node.membership.view)),
    )


def quiet(name: str, before: Quiet, after: Quiet) -> None:
    """QUIET: once all agree, reading sends no record, and no link goes."""
    if before != after:
        raise Failure("QUIET", f"{name}: {before} became {after}")


def bytes_sent(copies: Sequence[Copy]) -> int:
    """Return what all members have sent so far on links."""
    return sum(copy.node.metrics.bytes_sent for copy in copies)


def idle(copies: Sequence[Copy], before: int, seconds: float) -> None:
    """QUIET: while nobody writes, both ends of a link together send at most 1 kB a second."""
    links = sum(len(copy.node.membership.link_of) for copy in copies) / 2
    rate = (bytes_sent(copies) - before) / seconds / max(links, 1.0)
    if rate > IDLE_BYTES_PER_S_MAX:
        raise Failure("QUIET", f"all: {rate:.0f} bytes a second on each link")


def gaps(copies: Sequence[Copy]) -> None:
    """GAPS: without loss nobody sees a gap."""
    for copy in copies:
        if copy.node.metrics.gaps:
            raise Failure("GAPS", f"{copy.name} saw {copy.node.metrics.gaps} gaps")
