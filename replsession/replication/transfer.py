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

Each chunk says how many buckets are complete with it. The next donor goes on at the first one that
is not; where the two held different things in those before it, repair levels them out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b

from replsession.config import Limits, Timing
from replsession.events import Member
from replsession.identity import Key, MemberId
from replsession.session.store import BUCKETS


def ranked(donors: list[Member], joiner: MemberId) -> list[Member]:
    """Return ready members in the order to ask them; joiners that start together spread."""

    def rank(member: Member) -> bytes:
        return blake2b(member.id + joiner, digest_size=8).digest()

    return sorted(donors, key=rank)


@dataclass(slots=True)
class Came:
    """How much came of a state."""

    sessions: int = 0
    bytes: int = 0


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
    chunks: dict[int, int] = field(default_factory=dict)
    """Numbers of the chunks of this transfer that came, each with its count of buckets."""
    in_order: int = 0
    """So many chunks came without one missing between them."""
    complete: int = 0
    """So many buckets are complete, whoever sent them; a donor is asked for those after them."""
    came: dict[int, dict[str, Came]] = field(default_factory=dict)
    """What came, for each bucket and context."""

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
        self.heard_at = now
        if not self.complete:
            self.asked_at = now
        self.chunks.clear()
        self.in_order = 0
        # The others come once more, from this donor.
        self.came = {bucket: came for bucket, came in self.came.items() if bucket < self.complete}
        return self.transfer

    def chunk_came(self, number: int, buckets: int) -> bool:
        """
        Take note of a chunk of this transfer; return whether it is a new one.

        Args:
            number: From 1 on.
            buckets: How many are complete with this chunk and all those before it.
        """
        if number in self.chunks:
            return False
        self.chunks[number] = buckets
        while self.in_order + 1 in self.chunks:
            self.in_order += 1
            self.complete = max(self.complete, self.chunks[self.in_order])
        return True

    def count(self, key: Key, size: int, *, is_session: bool) -> None:
        """Count bytes that came for a record, and the session if it is a new one."""
        came = self.came.setdefault(key.locator[0], {}).setdefault(key.context, Came())
        came.sessions += is_session
        came.bytes += size

    def received(self) -> dict[str, Came]:
        """Return what came up to now for each context."""
        contexts: dict[str, Came] = {}
        for came in self.came.values():
            for context, part in came.items():
                whole = contexts.setdefault(context, Came())
                whole.sessions += part.sessions
                whole.bytes += part.bytes
        return contexts

    @property
    def progress(self) -> float:
        """How much of the state is complete here, 0 to 1."""
        return self.complete / BUCKETS

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
    encoded: Iterator[tuple[bytes, int]]
    """Items, each with the number of buckets that are complete when it has come."""
    heard_at: float
    buckets: int = 0
    """So many are complete with what was sent."""
    sent: int = 0
    credited: int = 0
    exhausted: bool = False

    def next_chunks(self, limits: Limits) -> Iterator[tuple[int, int, list[bytes]]]:
        """Yield number, complete buckets and items of each chunk that may be sent now."""
        while not self.exhausted and self.sent - self.credited < limits.transfer_window_chunks:
            chunk: list[bytes] = []
            size = 0
            for item, buckets in self.encoded:
                chunk.append(item)
                size += len(item)
                self.buckets = buckets
                if size >= limits.chunk_bytes:
                    break
            else:
                self.exhausted = True
            if chunk:
                self.sent += 1
                yield self.sent, self.buckets, chunk


def bucket_by_bucket(
    first: int, encoded: Callable[[int], Iterable[bytes]]
) -> Iterator[tuple[bytes, int]]:
    """
    Yield the items of all buckets from *first* on, for a donor to send.

    Args:
        first: 0 to 256.
        encoded: Returns the items of one bucket; it is asked when the bucket's turn has come.
    """
    for bucket in range(first, BUCKETS):
        held: bytes | None = None
        for item in encoded(bucket):
            if held is not None:
                yield held, bucket
            held = item
        if held is not None:
            yield held, bucket + 1
