"""
Planted bugs: the core with one of its rules taken out, to prove that the checkers see it.

Each is put in from outside for as long as a ``with`` lasts; nothing in the product knows of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from replsession.membership.view import View
from replsession.messages import StateEnd
from replsession.replication import joining as joining_module
from replsession.replication import outbox as outbox_module
from replsession.replication import peers as peers_module
from replsession.replication.intake import Intake
from replsession.replication.outbox import Outbox
from replsession.replication.peers import Peers
from replsession.replication.pieces import Assembly, whole
from replsession.replication.repair import Repairer
from replsession.session import store as store_module
from replsession.session.delta import Delta, joined
from replsession.session.record import Merge, Record
from replsession.session.stamp import HybridClock
from replsession.session.store import Store

FUTURE_MS = 30 * 60 * 1000
EARLY_S = 1.0
Patch = tuple[Any, str, Any]


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
    def is_past(self: Store, record: Record, now: float) -> bool:
        return now - record.ended_at >= EARLY_S

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
    "clock_not_raised": _clock_not_raised,
    "version_at_gap": _version_at_gap,
    "joined_under_one_stamp": _joined_under_one_stamp,
    "unbounded_outbox": _unbounded_outbox,
    "repair_not_answered": _offer_not_answered,
    "readiness_unheard": _readiness_unheard,
    "end_joined_as_a_delta": _end_joined_as_a_delta,
    "everything_buried": _everything_buried,
}
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
