"""Looks: what several members told at one moment, put together; and rates between two of them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from replsession.cli.choosing import Look

RATES: Final = (
    "opens",
    "commits",
    "deltas_sent",
    "deltas_received",
    "bytes_sent",
    "sessions_expired",
)
"""Counters that are told per second."""


@dataclass(frozen=True, slots=True)
class Told:
    """What one member told."""

    where: str
    """Path of its socket, or its URL."""
    status: dict[str, Any]
    rates: dict[str, float]
    """Per second: since the look before, or since the member's start."""
    over_s: float
    """The seconds behind the rates."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One look at all of them."""

    at_s: float
    """Of the monotonic clock."""
    told: tuple[Told, ...]
    problems: tuple[str, ...]
    """Who did not answer, and why."""

    @property
    def clusters(self) -> dict[str, list[Told]]:
        """Those that answered, by the name of their cluster."""
        found: dict[str, list[Told]] = {}
        for one in sorted(self.told, key=lambda one: -one.status["member"]["age_s"]):
            found.setdefault(one.status["member"]["cluster"], []).append(one)
        return dict(sorted(found.items()))

    @property
    def wrong(self) -> tuple[str, ...]:
        """Sentences on what is not as it should be."""
        return (*self.problems, *_wrong(self))

    @property
    def exit_code(self) -> int:
        """0: all is well; 1: something is not; 2: nobody answered."""
        return 2 if not self.told else 1 if self.wrong else 0


def seen(look: Look, before: Seen | None, now: float | None = None) -> Seen:
    """
    Return what a look told, with rates.

    Args:
        look: What members told.
        before: The look before, if there was one.
        now: Seconds of the monotonic clock, when it was asked; None: just now.
    """
    at_s = time.monotonic() if now is None else now
    earlier = {} if before is None else {one.status["member"]["id"]: one for one in before.told}
    told: dict[str, Told] = {}
    for member, status in look.told:
        last = earlier.get(status["member"]["id"])
        since = at_s - before.at_s if before is not None and last is not None else 0.0
        base = {} if last is None else last.status["metrics"]
        over_s = since if last is not None else status["member"]["age_s"]
        rates = {
            name: (status["metrics"][name] - base.get(name, 0)) / max(over_s, 0.001)
            for name in RATES
        }
        # A member that two paths lead to is one.
        told.setdefault(status["member"]["id"], Told(member.where, status, rates, over_s))
    return Seen(at_s, tuple(told.values()), tuple(look.problems))


def _wrong(look: Seen) -> Iterator[str]:
    here = {one.status["member"]["id"] for one in look.told}
    for one in look.told:
        me = one.status["member"]
        if not me["ready"]:
            yield f"{me['name']} is not ready: {me['state']}"
    named: dict[str, None] = {}
    for one in look.told:
        for other in one.status["others"]:
            name = one.status["member"]["name"]
            if other["state"] == "suspected":
                named[f"{name} does not hear {other['name']}, and asks for it"] = None
            elif other["state"] == "unreachable":
                via = other["via"]
                named[f"{name} cannot reach {other['name']}, but through {via}"] = None
            elif not other["ready"] and other["id"] not in here:
                named[f"{other['name']} is not ready"] = None
    yield from named
