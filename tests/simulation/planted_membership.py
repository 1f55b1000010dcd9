"""Planted bugs of the membership and of relaying; put in by ``planted.py``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from replsession.identity import MemberId
from replsession.membership import membership as membership_module
from replsession.membership import suspicion as suspicion_module
from replsession.membership.dialling import Candidate, Dialling, Seed
from replsession.membership.membership import Membership
from replsession.membership.mesh import Link, stays
from replsession.membership.neighbours import Neighbourhood
from replsession.membership.suspicion import Suspicions
from replsession.replication import relay as relay_module

Patch = tuple[Any, str, Any]


def _suspicion_never_ends() -> list[Patch]:
    return [(Suspicions, "over", lambda self, now: [])]


def _testimony_ignored() -> list[Patch]:
    return [(Suspicions, "testified", lambda self, witness, testimony, now: None)]


def _last_words_count() -> list[Patch]:
    return [(suspicion_module, "heard_lately", lambda heard_at, suspected_at, timing: True)]


def _own_pause_unnoticed() -> list[Patch]:
    return [(Suspicions, "restart", lambda self, now: None)]


def _departed_come_back() -> list[Patch]:
    hint = Dialling.hint

    def of_anybody(self: Dialling, *args: Any) -> Candidate | None:
        departed, self.departed = self.departed, {}
        try:
            return hint(self, *args)
        finally:
            self.departed = departed

    return [(Dialling, "hint", of_anybody)]


def _unreachable_for_ever() -> list[Patch]:
    return [(Membership, "_review", lambda self, now: None)]


def _neighbours_untold() -> list[Patch]:
    def tell(self: Neighbourhood, *args: Any, **named: Any) -> Iterator[Any]:
        return iter(())

    return [(Neighbourhood, "tell", tell)]


def _seeds_given_up() -> list[Patch]:
    postpone = Dialling._postpone

    def once(self: Dialling, target: Candidate | Seed, now: float) -> None:
        postpone(self, target, now)
        if isinstance(target, Seed) and target.failures > 3:
            target.dial_at = float("inf")

    return [(Dialling, "_postpone", once)]


def _dead_link_stays() -> list[Patch]:
    def by_ids_only(held: Link, new: Link, me: MemberId, other: MemberId, apart_s: float) -> Link:
        return stays(held, new, me, other, float("inf"))

    return [(membership_module, "stays", by_ids_only)]


def _old_link_kept() -> list[Patch]:
    def give_up(self: Membership, member_id: MemberId, reason: str, now: float) -> None:
        if reason != "replaced by a new start" and member_id in self.link_of:
            self._close(self.link_of[member_id], reason, now)
        self._gone(member_id, reason, now)

    return [(Membership, "_give_up", give_up)]


def _relay_echoes() -> list[Patch]:
    def everybody(me: MemberId, writer: MemberId, linked_with: Any) -> list[MemberId]:
        return [member for member in linked_with if member != writer]

    return [
        (relay_module, "targets", everybody),
        (relay_module, "is_own", lambda delta, sender: True),
    ]


MEMBERSHIP: dict[str, Callable[[], list[Patch]]] = {
    "suspicion_never_ends": _suspicion_never_ends,
    "testimony_ignored": _testimony_ignored,
    "last_words_count": _last_words_count,
    "own_pause_unnoticed": _own_pause_unnoticed,
    "departed_come_back": _departed_come_back,
    "unreachable_for_ever": _unreachable_for_ever,
    "neighbours_untold": _neighbours_untold,
    "seeds_given_up": _seeds_given_up,
    "dead_link_stays": _dead_link_stays,
    "old_link_kept": _old_link_kept,
    "relay_echoes": _relay_echoes,
}
