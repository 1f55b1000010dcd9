"""Planted bugs of what requests wait for: fresh state, and acknowledgements."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from replsession.identity import Key, MemberId
from replsession.messages import Acknowledge, RecordAnswer
from replsession.replication import requests as requests_module
from replsession.replication.acks import Ticket, Tickets
from replsession.replication.freshness import Freshness, Lookup
from replsession.replication.peers import Peer
from replsession.replication.stream import Stream
from replsession.session.record import Record

Patch = tuple[Any, str, Any]


def _tokens_not_compared() -> list[Patch]:
    return [(requests_module, "covers", lambda record, seen, me: True)]


def _token_of_the_version_alone() -> list[Patch]:
    return [(Record, "seen", lambda self: dict(self.version))]


def _token_clock_not_raised() -> list[Patch]:
    opened = requests_module.Requests.open

    def without_clock(self: Any, key: Key, now: float, secret: Any, seen: Any, **named: Any) -> Any:
        return opened(self, key, now, secret, seen._replace(clock=0), **named)

    return [(requests_module.Requests, "open", without_clock)]


def _unknown_at_once() -> list[Patch]:
    def begin(self: Freshness, key: Key, seen: Mapping[MemberId, int], now: float) -> None:
        return None

    return [(Freshness, "begin", begin)]


def _any_answer_answers() -> list[Patch]:
    answered = Freshness.answered

    def to_all(self: Freshness, peer: Peer, message: RecordAnswer, now: float) -> None:
        answered(self, peer, replace(message, number=self._inquiries), now)

    return [(Freshness, "answered", to_all)]


def _waits_without_end() -> list[Patch]:
    whom = Freshness._whom

    def patient(self: Freshness, lookup: Lookup, now: float) -> Iterator[MemberId]:
        lookup.deadline = now + 1.0
        yield from whom(self, lookup, now)

    return [(Freshness, "_whom", patient)]


def _acknowledged_with_gaps() -> list[Patch]:
    acknowledged = Stream.acknowledged

    def whole(self: Stream, peer: Peer, message: Acknowledge) -> None:
        acknowledged(self, peer, Acknowledge(message.batch))

    return [(Stream, "acknowledged", whole)]


def _any_batch_acknowledges() -> list[Patch]:
    held = Ticket.held

    def generous(self: Ticket, member: MemberId, name: str, marks: Mapping[Key, int]) -> None:
        held(self, member, name, dict.fromkeys(marks, 2**64))

    return [(Ticket, "held", generous)]


def _sent_counts_as_held() -> list[Patch]:
    opened = Tickets.open

    def hopeful(
        self: Tickets, asked: Any, marks: Any, up: Mapping[MemberId, str], *rest: Any
    ) -> Any:
        ticket = opened(self, asked, marks, up, *rest)
        for member, name in up.items():
            ticket.held(member, name, dict.fromkeys(marks, 2**64))
        return ticket

    return [(Tickets, "open", hopeful)]


def _strangers_given_up() -> list[Patch]:
    return [(Freshness, "_may_just_begin", lambda self, lookup: False)]


PLANTED: dict[str, Callable[[], list[Patch]]] = {
    "tokens_not_compared": _tokens_not_compared,
    "token_of_the_version_alone": _token_of_the_version_alone,
    "token_clock_not_raised": _token_clock_not_raised,
    "unknown_at_once": _unknown_at_once,
    "strangers_given_up": _strangers_given_up,
    "any_answer_answers": _any_answer_answers,
    "waits_without_end": _waits_without_end,
    "acknowledged_with_gaps": _acknowledged_with_gaps,
    "any_batch_acknowledges": _any_batch_acknowledges,
    "sent_counts_as_held": _sent_counts_as_held,
}
