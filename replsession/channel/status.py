"""
The status of this process's member: what its node says, and what only the channel knows.

Counting the sessions takes long where there are many, so it is done in steps, between which
requests go on, and no more often than a small part of the time allows.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Protocol

from replsession.channel.member import LocalMember
from replsession.config import CENSUS_SHARE, ClusterSettings
from replsession.session.census import Count, count, packed
from replsession.session.store import BUCKETS
from replsession.status import Around, ClusterStatus, status_of

RECORDS_AT_ONCE = 500
"""Records counted in one step, about a millisecond."""


class Census:
    """The sessions of one member, counted now or a moment ago."""

    def __init__(self) -> None:
        self.counts: dict[str, Count] = {}
        self.counted_at = 0.0
        self._again_at = 0.0

    def steps(self, member: LocalMember) -> Generator[None, None, None]:
        """Count, unless that was done not long ago; whoever waits between two steps may."""
        if self.counts and time.monotonic() < self._again_at:
            return
        counts: dict[str, Count] = {}
        spent_s = 0.0
        for bucket in range(BUCKETS):
            began_at = time.monotonic()
            with member.lock:
                entries = packed(member.node.store.entries(bucket))
            # What is packed does not change any more, so it is looked at without the lock.
            for at in range(0, len(entries) or 1, RECORDS_AT_ONCE):
                count(entries[at : at + RECORDS_AT_ONCE], counts)
                spent_s += time.monotonic() - began_at
                yield
                began_at = time.monotonic()
        self.counts = counts
        self.counted_at = time.monotonic()
        self._again_at = self.counted_at + spent_s / CENSUS_SHARE


class Asked(Protocol):
    """Who is asked: the channel, as far as it must be known here."""

    settings: ClusterSettings | None
    census: Census
    contexts: dict[str, None]

    @property
    def member(self) -> LocalMember:
        """This process's member."""

    @property
    def state(self) -> str:
        """Its state in words."""

    @property
    def is_ready(self) -> bool:
        """Whether it runs and has its state."""


def status_steps(channel: Asked) -> Generator[None, None, ClusterStatus]:
    """Make the status of a channel's member, in steps; it is the value at their end."""
    member, census = channel.member, channel.census
    yield from census.steps(member)
    settings = channel.settings
    around = Around(
        member.pid,
        "" if settings is None else settings.name,
        channel.state,
        channel.is_ready,
        library_version(),
    )
    now = time.monotonic()
    with member.lock:
        counted_s_ago = max(0.0, now - census.counted_at)
        return status_of(member.node, around, census.counts, counted_s_ago, now)


@cache
def library_version() -> str:
    """Return the version of this library, as it was installed."""
    try:
        return version("replsession")
    except PackageNotFoundError:
        return "not installed"
