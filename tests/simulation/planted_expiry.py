"""Planted bugs of expiry: the core without a rule, or without half of one; see planted.py."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import inf
from typing import Any

from replsession.events import Member
from replsession.identity import Key
from replsession.messages import Access, Expiration
from replsession.replication import intake as intake_module
from replsession.replication import outbox as outbox_module
from replsession.replication.intake import Intake
from replsession.replication.peers import Peers
from replsession.replication.reaping import Reaper
from replsession.replication.repair import Repairer
from replsession.replication.replication import Replication
from replsession.replication.requests import ACCESS_RESOLUTION_S, Requests
from replsession.session.delta import Delta
from replsession.session.expiry import is_over, is_too_old
from replsession.session.record import Record
from replsession.session.stamp import COUNTER_BITS, HybridClock, Stamp
from replsession.session.store import Store

Patch = tuple[Any, str, Any]


def _rule_3_dropped() -> list[Patch]:
    to_sleep = Store.put_to_sleep

    def gone(self: Store, key: Key, now: float, settled_at: float) -> Record:
        record = to_sleep(self, key, now, settled_at)
        self.drop(record)
        return record

    return [(Store, "put_to_sleep", gone)]


def _rule_3_dropped_early() -> list[Patch]:
    sweep = Store.sweep

    def hasty(self: Store, bucket: int, now: float, settled_at: float, *writer: Any) -> Any:
        return sweep(self, bucket, now, now, *writer)

    return [(Store, "sweep", hasty)]


def _rule_3_joiners_not_counted() -> list[Patch]:
    link_up = Replication.link_up

    def ready_ones(self: Replication, member: Member, link: int, now: float) -> None:
        link_up(self, member, link, now)
        if not member.ready:
            del self.repairer.settled[member.name]

    return [(Replication, "link_up", ready_ones)]


def _rule_3_never_dropped() -> list[Patch]:
    return [(Repairer, "settled_at", lambda self, now: -inf)]


def _rule_3_wakes_by_itself() -> list[Patch]:
    def woken(self: Intake, record: Record, accessed: float, now: float) -> None:
        if record.asleep and not is_over(record, now, self.timing, grace=True):
            self.metrics.sessions_woken += 1
            self.store.wake(record, now)

    return [(Intake, "_wake", woken)]


def _rule_3_not_woken() -> list[Patch]:
    return [(Intake, "_wake", lambda self, record, accessed, now: None)]


def _rule_3_not_transferred() -> list[Patch]:
    def refused(self: Intake, delta: Delta, *, in_transfer: bool) -> bool:
        return is_too_old(delta)

    return [(Intake, "_is_refused", refused)]


def _rule_3_not_given() -> list[Patch]:
    return [(intake_module, "_lacks_something", lambda delta, record: False)]


def _rule_3_pieces_kept() -> list[Patch]:
    return [(Peers, "lost_pieces", lambda self, key: None)]


def _rule_4_latest_estimate() -> list[Patch]:
    touch = Record.touch

    def fresher(self: Record, access: Stamp, accessed: float) -> None:
        if access == self.access:
            self.accessed = max(self.accessed, accessed)
        else:
            touch(self, access, accessed)

    return [(Record, "touch", fresher)]


def _rule_4_stamps_decide() -> list[Patch]:
    touch = Record.touch

    def by_stamp(self: Record, access: Stamp, accessed: float) -> None:
        if access >= self.access:
            touch(self, access, accessed)

    return [(Record, "touch", by_stamp)]


def _rule_4_clocks_decide() -> list[Patch]:
    take_access = Intake.take_access

    def by_clock(self: Intake, access: Access, now: float) -> None:
        made_at = (access.access.hlc >> COUNTER_BITS) / 1000 - self.wall_offset_s
        take_access(self, replace(access, idle_s=now - made_at), now)

    return [(Intake, "take_access", by_clock)]


def _rule_4_old_ones_taken() -> list[Patch]:
    # Putting to sleep what is over as soon as it is whole would mend it.
    return [
        (intake_module, "is_too_old", lambda delta: False),
        (Intake, "_doze", lambda self, record, delta, now, is_new: None),
    ]


def _rule_4_notice_obeyed() -> list[Patch]:
    def obeyed(self: Reaper, over: Expiration, now: float) -> None:
        record = self.store.get(over.key)
        if record is not None and record.is_served:
            self._fell_asleep(self.store.put_to_sleep(over.key, now, self.settled_at(now)))

    return [(Reaper, "_judge", obeyed)]


def _rule_4_accesses_untold() -> list[Patch]:
    return [(Requests, "announce", lambda self, now: self.announced.clear())]


def _rule_4_notice_unanswered() -> list[Patch]:
    judge = Reaper._judge

    def silent(self: Reaper, over: Expiration, now: float) -> None:
        judge(self, over, now)

    return [(Reaper, "_judge", silent)]


def _rule_4_another_access_told() -> list[Patch]:
    announce = Requests.announce

    def what_is_named(self: Requests, now: float) -> None:
        for key in self.announced:
            record = self.store.peek(key)
            if record is not None:
                self.announced[key] = record.access, record.accessed
        announce(self, now)

    return [(Requests, "announce", what_is_named)]


def _rule_4_first_access_untold() -> list[Patch]:
    from_delta = Record.from_delta

    def told_already(delta: Delta, now: float) -> Record:
        record = from_delta(delta, now)
        record.access_sent = record.accessed
        return record

    return [(Record, "from_delta", staticmethod(told_already))]


def _rule_4_accesses_elsewhere_stand_for_ours() -> list[Patch]:
    opened = Requests.open

    def once_for_all(self: Requests, key: Key, now: float, *args: Any, **named: Any) -> Any:
        held = self.store.peek(key)
        known = None if held is None else (held.access, held.accessed)
        found = opened(self, key, now, *args, **named)
        if isinstance(found, Record) and known and now - known[1] < ACCESS_RESOLUTION_S:
            found.access, found.accessed = known
        return found

    return [(Requests, "open", once_for_all)]


def _rule_7() -> list[Patch]:
    return [(Reaper, "_rename", lambda self: self.given_up.clear())]


def _rule_7_joined_over_names() -> list[Patch]:
    return [(outbox_module, "may_join", lambda first, second: True)]


def _clock_follows_to_the_end() -> list[Patch]:
    def observe(self: HybridClock, hlc: int) -> None:
        self.last = max(self.last, hlc)

    return [(HybridClock, "observe", observe)]


def _unbounded_sleep() -> list[Patch]:
    return [(Store, "drop_surplus", lambda self, settled_at: [])]


EXPIRY: dict[str, Callable[[], list[Patch]]] = {
    "rule_3_dropped": _rule_3_dropped,
    "rule_3_dropped_early": _rule_3_dropped_early,
    "rule_3_joiners_not_counted": _rule_3_joiners_not_counted,
    "rule_3_never_dropped": _rule_3_never_dropped,
    "rule_3_wakes_by_itself": _rule_3_wakes_by_itself,
    "rule_3_not_woken": _rule_3_not_woken,
    "rule_3_not_transferred": _rule_3_not_transferred,
    "rule_3_not_given": _rule_3_not_given,
    "rule_3_pieces_kept": _rule_3_pieces_kept,
    "rule_4_latest_estimate": _rule_4_latest_estimate,
    "rule_4_stamps_decide": _rule_4_stamps_decide,
    "rule_4_clocks_decide": _rule_4_clocks_decide,
    "rule_4_old_ones_taken": _rule_4_old_ones_taken,
    "rule_4_notice_obeyed": _rule_4_notice_obeyed,
    "rule_4_notice_unanswered": _rule_4_notice_unanswered,
    "rule_4_accesses_untold": _rule_4_accesses_untold,
    "rule_4_another_access_told": _rule_4_another_access_told,
    "rule_4_first_access_untold": _rule_4_first_access_untold,
    "rule_4_accesses_elsewhere_stand_for_ours": _rule_4_accesses_elsewhere_stand_for_ours,
    "rule_7": _rule_7,
    "rule_7_joined_over_names": _rule_7_joined_over_names,
    "clock_follows_to_the_end": _clock_follows_to_the_end,
    "unbounded_sleep": _unbounded_sleep,
}
