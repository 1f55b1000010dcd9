"""
State transfer: a member that starts gets everything from one that is ready.

::

    joiner  LOOKING ──a ready member is up──▶ ASKING ──StateRequest──▶ RECEIVING ──StateEnd──▶ DONE
               │                                 ▲                         │ refused, gone, silent
               │ nobody after discovery_s        └──── the next donor ─────┘
               └────────────────────────▶ DONE (skipped)        60 s in all ──▶ DONE (given up)

The donor walks over its buckets and sends whole records in chunks, at most
``transfer_window_chunks`` of them unacknowledged. What changes meanwhile reaches the joiner as
live deltas, which it merges all the time, so nothing has to stand still.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import blake2b

from replsession.config import Limits, Timing
from replsession.events import Member
from replsession.identity import MemberId


def ranked(donors: list[Member], joiner: MemberId) -> list[Member]:
    """Return ready members in the order to ask them; joiners that start together spread."""

    def rank(member: Member) -> bytes:
        return blake2b(member.id + joiner, digest_size=8).digest()

    return sorted(donors, key=rank)


@dataclass(slots=True)
class Joiner:
    """The receiving side."""

    timing: Timing
    started_at: float
    donor: MemberId | None = None
    transfer: int = 0
    asked_at: float = 0.0
    heard_at: float = 0.0
    done: bool = False
    refused: dict[MemberId, float] = field(default_factory=dict)
    """Donors that failed, and when; asked again after the others."""
    chunks: dict[int, None] = field(default_factory=dict)
    sessions: dict[str, int] = field(default_factory=dict)
    bytes: dict[str, int] = field(default_factory=dict)

    def choose(self, ready: list[Member], me: MemberId, now: float) -> Member | None:
        """Return the donor to ask now, or None: one is at it, or nobody can be asked yet."""
        if self.done or self.donor is not None:
            return None
        pause = self.timing.request_again_s
        fit = [m for m in ready if now - self.refused.get(m.id, -pause) >= pause]
        fresh = [m for m in fit if m.id not in self.refused]
        for donor in ranked(fresh or fit, me):
            return donor
        return None

    def begin(self, donor: MemberId, now: float) -> int:
        """Note that *donor* is asked; return the number of this transfer."""
        self.donor = donor
        self.transfer += 1
        self.asked_at = self.heard_at = now
        self.chunks.clear()
        self.sessions.clear()
        self.bytes.clear()
        return self.transfer

    def fail(self, now: float) -> None:
        """Note that the donor is lost; what came of it is merged and stays."""
        if self.donor is not None:
            self.refused[self.donor] = now
            self.donor = None

    def is_stalled(self, now: float) -> bool:
        """Tell whether the donor is silent for too long."""
        return self.donor is not None and now - self.heard_at >= self.timing.transfer_stall_s

    def is_overdue(self, now: float) -> bool:
        """Tell whether the bound on all donors together has passed."""
        return now - self.started_at >= self.timing.transfer_timeout_s

    def nobody_came(self, now: float, ready: int) -> bool:
        """Tell whether the time for finding others is over and none of them is ready."""
        return (
            not self.done
            and self.donor is None
            and ready == 0
            and now - self.started_at >= self.timing.discovery_s
        )


@dataclass(slots=True)
class Donor:
    """The sending side of one transfer: an iterator of encoded records, and the credits."""

    transfer: int
    encoded: Iterator[bytes]
    heard_at: float
    sent: int = 0
    credited: int = 0
    exhausted: bool = False

    def next_chunks(self, limits: Limits) -> Iterator[tuple[int, list[bytes]]]:
        """Yield number and records of each chunk that may be sent now."""
        while not self.exhausted and self.sent - self.credited < limits.transfer_window_chunks:
            chunk: list[bytes] = []
            size = 0
            for item in self.encoded:
                chunk.append(item)
                size += len(item)
                if size >= limits.chunk_bytes:
                    break
            else:
                self.exhausted = True
            if chunk:
                self.sent += 1
                yield self.sent, chunk
