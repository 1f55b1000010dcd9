"""
Planted bugs: the core with one of its rules taken out, to prove that the checkers see it.

Each is put in from outside for as long as a ``with`` lasts; nothing in the product knows of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from replsession.identity import Key
from replsession.membership.view import View
from replsession.messages import RepairRecords, StateEnd, StateRequest
from replsession.replication import joining as joining_module
from replsession.replication import outbox as outbox_module
from replsession.replication import peers as peers_module
from replsession.replication import repair as repair_module
from replsession.replication.exchange import Giver, differing
from replsession.replication.intake import Intake
from replsession.replication.outbox import Outbox
from replsession.replication.peers import Peer, Peers
from replsession.replication.pieces import Assembly, whole
from replsession.replication.repair import Repairer
from replsession.replication.rounds import Round
from replsession.replication.transfer import Joiner, bucket_by_bucket
from replsession.session import store as store_module
from replsession.session.delta import Delta, joined
from replsession.session.record import Merge, Record
from replsession.session.stamp import HybridClock
from replsession.session.store import Store
from replsession.wire.encoding import decode_item, encode_item
from tests.simulation import planted_counters, planted_principals, planted_waits
from tests.simulation.planted_expiry import EXPIRY
from tests.simulation.planted_membership import MEMBERSHIP

FUTURE_MS = 30 * 60 * 1000
EARLY_S = 1.0
Patch = tuple[Any, str, Any]
Digests = dict[Key, int]


def _last_arrival_wins() -> list[Patch]:
    def merge_attributes(self: Record, delta: Delta) -> bool:
        self.attributes.update(delta.attributes)
        return True

    return [(Record, "_merge_attributes", merge_attributes)]


def _no_repair() -> list[Patch]:
    return [(Repairer, "advance", lambda self, ready, now: None)]


def _unknown_dropped() -> list[Patch]:
    take = Intake.take

    def only_known(self: Intake, delta: Delta, *args: Any, **named: Any) -> None:
        if delta.since is None or self.store.get(delta.key) is not None:
            take(self, delta, *args, **named)

    return [(Intake, "take", only_known)]


def _forgotten_early() -> list[Patch]:
    def is_past(self: Store, since: float, now: float) -> bool:
        return now - since >= EARLY_S

    return [(Store, "_is_past_retention", is_past)]


def _rule_1() -> list[Patch]:
    return [(Store, "is_forgotten", lambda self, born: False)]


def _rule_1_one_scalar() -> list[Patch]:
    def is_forgotten(self: Store, born: Any) -> bool:
        return bool(born.hlc <= max(self.forgotten.values(), default=-1))

    return [(Store, "is_forgotten", is_forgotten)]


def _rule_1_not_inherited() -> list[Patch]:
    def without(transfer: int, chunks: int, sent_at_ms: int, forgotten: object) -> StateEnd:
        return StateEnd(transfer, chunks, sent_at_ms, {})

    return [(joining_module, "StateEnd", without)]


def _rule_2() -> list[Patch]:
    def ageless(record: Record, now: float) -> Delta:
        return whole(record, now)._replace(destroyed_age_s=0.0)

    return [
        (peers_module, "whole", ageless),
        (store_module, "tombstone_counts", lambda age_s, timing: True),
    ]


def _rule_5() -> list[Patch]:
    from_delta = Record.from_delta

    def complete(delta: Delta, now: float) -> Record:
        record = from_delta(delta, now)
        record.complete = True
        return record

    return [(Record, "from_delta", staticmethod(complete))]


def _rule_6_derived() -> list[Patch]:
    def derived(record: Record, now: float) -> Delta:
        version = dict(record.version)
        for write in record.attributes.values():
            version[write.member] = max(version.get(write.member, 0), write.hlc)
        return whole(record, now)._replace(version=version)

    return [(peers_module, "whole", derived)]


def _rule_6_last_piece() -> list[Patch]:
    def arrived(self: Assembly, delta: Delta) -> Delta:
        piece = delta.piece
        if piece is None or piece.number == piece.pieces - 1:
            return delta
        return delta._replace(complete=False, version={})

    return [(Assembly, "arrived", arrived)]


def _rule_9() -> list[Patch]:
    take = Intake.take

    def no_future(self: Intake, delta: Delta, sender: bytes, now: float, **named: Any) -> None:
        newest = max([delta.born.hlc, *(write.hlc for write in delta.attributes.values())])
        if newest >> 16 <= (now + self.wall_offset_s) * 1000 + FUTURE_MS:
            take(self, delta, sender, now, **named)

    return [(Intake, "take", no_future)]


def _rule_12_access() -> list[Patch]:
    digest = Record.digest

    def with_access(self: Record) -> int:
        return digest(self) ^ self.access.hlc

    return [(Record, "digest", with_access)]


def _rule_12_since() -> list[Patch]:
    def last_since(first: Delta, second: Delta) -> Delta:
        return joined(first, second)._replace(since=second.since)

    return [(outbox_module, "joined", last_since)]


def _rule_12_cumulative() -> list[Patch]:
    exactly = Outbox.acknowledged

    def cumulative(self: Outbox, number: int) -> int:
        return sum(exactly(self, older) for older in list(self.in_flight) if older <= number)

    return [(Outbox, "acknowledged", cumulative)]


def _clock_not_raised() -> list[Patch]:
    return [(HybridClock, "observe", lambda self, hlc: None)]


def _version_at_gap() -> list[Patch]:
    advance = Record._advance

    def eager(self: Record, delta: Delta, applied: bool) -> Merge:
        found = advance(self, delta, applied)
        if found is Merge.GAP:
            self.version[delta.writer.member] = delta.writer.hlc
        return found

    return [(Record, "_advance", eager)]


def _joined_under_one_stamp() -> list[Patch]:
    def restamped(first: Delta, second: Delta) -> Delta:
        together = joined(first, second)
        if together.since is None:
            return together
        hlc = together.writer.hlc
        attributes = {n: write._replace(hlc=hlc) for n, write in together.attributes.items()}
        return together._replace(attributes=attributes)

    return [(outbox_module, "joined", restamped)]


def _unbounded_outbox() -> list[Patch]:
    return [(Outbox, "_overflow", lambda self: 0)]


def _offer_not_answered() -> list[Patch]:
    return [(Repairer, "offer_received", lambda self, peer, message, now: None)]


def _left_forgotten() -> list[Patch]:
    return [(Giver, "left", property(lambda self: []))]


def _one_way_only() -> list[Patch]:
    def wanted_only(mine: Digests, theirs: Digests) -> tuple[list[Key], list[Key]]:
        return differing(mine, theirs)[0], []

    return [(repair_module, "differing", wanted_only)]


def _settled_too_early() -> list[Patch]:
    exchange = Repairer._exchange

    def once(self: Repairer, peer: Peer, running: Round, now: float) -> None:
        if running.awaiting is RepairRecords:
            self._finish(running)
        else:
            exchange(self, peer, running, now)

    return [(Repairer, "_exchange", once)]


def _leaves_left_out() -> list[Patch]:
    go_on_at = Round.go_on_at
    return [(Round, "go_on_at", lambda self, leaf: go_on_at(self, None))]


def _version_of_last_piece() -> list[Patch]:
    next_items = Repairer._next_items

    def renewed(self: Repairer, giver: Giver, now: float) -> list[bytes]:
        record = None if giver.under_way is None else self.store.peek(giver.under_way)
        if record is not None and record.destroyed is None:
            pieces = map(decode_item, giver.rest)
            version = dict(record.version)
            giver.rest = [encode_item(piece._replace(version=version)) for piece in pieces]
        return next_items(self, giver, now)

    return [(Repairer, "_next_items", renewed)]


def _pieces_believed() -> list[Patch]:
    def take(self: Repairer, peer: Peer, deltas: Iterable[Delta], now: float) -> None:
        for delta in deltas:
            self.intake.take(delta, peer.id, now, in_transfer=False)

    return [(Repairer, "_take", take)]


def _bucket_skipped() -> list[Patch]:
    def further(transfer: int, bucket: int) -> StateRequest:
        return StateRequest(transfer, min(bucket + 1, 256) if bucket else 0)

    return [(joining_module, "StateRequest", further)]


def _bucket_counted_early() -> list[Patch]:
    def early(first: int, encoded: Callable[[int], Iterable[bytes]]) -> Iterator[tuple[bytes, int]]:
        for item, _ in bucket_by_bucket(first, encoded):
            bucket = decode_item(item).key.locator[0]
            yield item, bucket + 1

    return [(joining_module, "bucket_by_bucket", early)]


def _missing_chunk_unseen() -> list[Patch]:
    def chunk_came(self: Joiner, number: int, buckets: int) -> bool:
        is_new = number not in self.chunks
        self.chunks[number] = buckets
        self.complete = max(self.complete, buckets)
        return is_new

    return [(Joiner, "chunk_came", chunk_came)]


def _joined_from_nothing() -> list[Patch]:
    return [(joining_module, "StateRequest", lambda transfer, bucket: StateRequest(transfer, 0))]


def _lost_member_unheeded() -> list[Patch]:
    return [(Repairer, "link_down", lambda self, member, *_: self.rounds.lost(member))]


def _readiness_unheard() -> list[Patch]:
    return [(View, "set_ready", lambda self, member_id, ready: None)]


def _end_joined_as_a_delta() -> list[Patch]:
    def of_deltas(first: Delta, second: Delta) -> Delta:
        assert first.since is not None
        assert second.since is not None
        return joined(first, second)

    return [(outbox_module, "joined", of_deltas)]


def _everything_buried() -> list[Patch]:
    return [(Store, "is_forgotten", lambda self, born: True)]


def _no_stream() -> list[Patch]:
    return [(Peers, "put_for_all", lambda self, item: None)]


PLANTED: dict[str, Callable[[], list[Patch]]] = {
    "last_arrival_wins": _last_arrival_wins,
    "no_repair": _no_repair,
    "unknown_dropped": _unknown_dropped,
    "tombstone_forgotten_early": _forgotten_early,
    "rule_1": _rule_1,
    "rule_1_one_scalar": _rule_1_one_scalar,
    "rule_1_not_inherited": _rule_1_not_inherited,
    "rule_2": _rule_2,
    "rule_5": _rule_5,
    "rule_6_derived_version": _rule_6_derived,
    "rule_6_last_piece": _rule_6_last_piece,
    "rule_9": _rule_9,
    "rule_12_access_in_digest": _rule_12_access,
    "rule_12_last_since": _rule_12_since,
    "rule_12_cumulative_acknowledgement": _rule_12_cumulative,
    **EXPIRY,
    "clock_not_raised": _clock_not_raised,
    "version_at_gap": _version_at_gap,
    "joined_under_one_stamp": _joined_under_one_stamp,
    "unbounded_outbox": _unbounded_outbox,
    "repair_not_answered": _offer_not_answered,
    "left_keys_forgotten": _left_forgotten,
    "repair_one_way_only": _one_way_only,
    "settled_too_early": _settled_too_early,
    "leaves_left_out": _leaves_left_out,
    "rule_6_last_piece_in_repair": _version_of_last_piece,
    "rule_6_pieces_believed_in_repair": _pieces_believed,
    "bucket_skipped": _bucket_skipped,
    "bucket_counted_early": _bucket_counted_early,
    "missing_chunk_unseen": _missing_chunk_unseen,
    "joined_from_nothing": _joined_from_nothing,
    "lost_member_unheeded": _lost_member_unheeded,
    "readiness_unheard": _readiness_unheard,
    "end_joined_as_a_delta": _end_joined_as_a_delta,
    "everything_buried": _everything_buried,
    **MEMBERSHIP,
}
PLANTED |= planted_waits.PLANTED | planted_counters.PLANTED | planted_principals.PLANTED
HARMLESS: dict[str, Callable[[], list[Patch]]] = {"no_stream": _no_stream}
"""What a promise survives."""


@contextmanager
def planted(name: str | None) -> Iterator[None]:
    """Put a bug in; None: leave all as it is."""
    if name is None:
        yield
        return
    patches = {**PLANTED, **HARMLESS}[name]()
    kept = [(owner, attribute, owner.__dict__[attribute]) for owner, attribute, _ in patches]
    for owner, attribute, replacement in patches:
        setattr(owner, attribute, replacement)
    try:
        yield
    finally:
        for owner, attribute, original in kept:
            setattr(owner, attribute, original)
