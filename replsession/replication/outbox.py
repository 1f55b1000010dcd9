"""
Outboxes: what waits for each member, and what was sent and is not acknowledged.

Rules of this file:

1. A writer never waits for a member: what does not fit empties the outbox and marks it for repair.
   Whole records that a member asked for do not: they are put in while there is room, and the rest
   is left to repair. So the outbox holds at most its bounds and one whole record.
2. An item is encoded once, and the same bytes go to every member.
3. While the window of a member is open, items leave as they came. While it is closed, deltas of one
   session are joined into one, which keeps the first ``since``; but not those that would be too
   long for a frame together, nor those from before and after this member took a new name.
4. An acknowledgement names one batch exactly; it says nothing of the batches before it.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import dataclass

from replsession.config import Limits, Timing
from replsession.identity import Key
from replsession.session.delta import Delta, joined, may_join

HELD_ALL = 2**64
"""Mark of the end of a session: above the clock value of every write."""


@dataclass(slots=True)
class Item:
    """One delta or whole record on its way."""

    key: Key
    encoded: bytes
    delta: Delta | None = None
    """Set where it was joined from others; a fresh commit is kept as bytes only."""
    is_stream: bool = True
    mark: int = 0
    """Who has taken this in holds the session's writes of this member up to here."""


@dataclass(slots=True)
class Batch:
    """Items in one frame, not acknowledged yet."""

    number: int
    items: int
    bytes: int
    sent_at: float
    marks: dict[Key, int] | None = None
    """For sessions with open tickets: what an acknowledgement of this batch says of them."""


class Outbox:
    """
    What one member must still get.

    Args:
        limits: Bounds on what waits and on what is under way.
        decode: Turns the bytes of an item into its delta, to join two of them.
        encode: The way back.
    """

    __slots__ = (
        "_bytes",
        "_decode",
        "_encode",
        "_index",
        "_items",
        "_limits",
        "_next_batch",
        "_wholes",
        "in_flight",
        "in_flight_bytes",
        "needs_repair",
    )

    def __init__(
        self,
        limits: Limits,
        decode: Callable[[bytes], Delta],
        encode: Callable[[Delta], bytes],
    ) -> None:
        self._limits = limits
        self._decode = decode
        self._encode = encode
        self._items: list[Item] = []
        self._index: dict[Key, int] = {}
        self._bytes = 0
        self._wholes: dict[Key, int] = {}
        self._next_batch = 1
        self.in_flight: dict[int, Batch] = {}
        self.in_flight_bytes = 0
        self.needs_repair = False
        """Something was thrown away: the next repair round must level it out."""

    def __len__(self) -> int:
        return len(self._items)

    @property
    def waiting_bytes(self) -> int:
        """Bytes of what waits; what is under way is not among them."""
        return self._bytes

    @property
    def unacknowledged(self) -> int:
        """Items that wait or are under way."""
        return len(self._items) + sum(batch.items for batch in self.in_flight.values())

    def oldest_s(self, now: float) -> float | None:
        """Return how long ago the oldest batch under way was sent; None: there is none."""
        for batch in self.in_flight.values():
            return now - batch.sent_at
        return None

    @property
    def is_open(self) -> bool:
        """Whether the member has acknowledged enough for more to be sent."""
        return self.in_flight_bytes < self._limits.window_bytes

    @property
    def has_room(self) -> bool:
        """Whether a whole record may be put in."""
        return (
            len(self._items) < self._limits.outbox_deltas_max
            and self._bytes < self._limits.outbox_bytes_max
        )

    def holds_whole(self, key: Key, content: int) -> bool:
        """Tell whether a whole record with this content waits already."""
        return self._wholes.get(key) == content

    def put_whole(self, items: list[Item], content: int = 0) -> None:
        """
        Take in a whole record, all its pieces; ask before whether there is room.

        Args:
            items: The pieces.
            content: The digest of the record, which tells it from an older state of it.
        """
        self._items += items
        self._bytes += sum(len(item.encoded) for item in items)
        for item in items:
            self._wholes[item.key] = content

    def put(self, item: Item) -> int:
        """Take in an item; return how many were thrown away because there was no room."""
        if not self.is_open and item.is_stream:
            at = self._index.get(item.key)
            if at is not None and self._join(at, item):
                return self._overflow()
            self._index[item.key] = len(self._items)
        self._items.append(item)
        self._bytes += len(item.encoded)
        return self._overflow()

    def next_batch(
        self, now: float, tracked: Container[Key] = ()
    ) -> tuple[int, list[bytes]] | None:
        """
        Return number and items of the next frame; None: nothing waits, or it must.

        Args:
            now: Seconds of the local monotonic clock.
            tracked: Sessions with open tickets.
        """
        if not self._items or not self.is_open:
            return None
        size = taken = 0
        for item in self._items:
            size += len(item.encoded)
            taken += 1
            if size >= self._limits.chunk_bytes:
                break
        batch = Batch(self._next_batch, taken, size, now)
        if tracked:
            batch.marks = _marks(self._items[:taken], tracked)
        self._next_batch += 1
        encoded = [item.encoded for item in self._items[:taken]]
        if self._wholes:
            self._forget_wholes(taken)
        del self._items[:taken]
        self._index.clear()
        self._bytes -= size
        self.in_flight[batch.number] = batch
        self.in_flight_bytes += size
        return batch.number, encoded

    def acknowledged(self, number: int) -> int:
        """Take note that exactly this batch is applied there; return how many items it had."""
        batch = self.in_flight.pop(number, None)
        if batch is None:
            return 0
        self.in_flight_bytes -= batch.bytes
        return batch.items

    def is_stuck(self, now: float, timing: Timing) -> bool:
        """Tell whether the oldest batch under way has waited too long for its acknowledgement."""
        for batch in self.in_flight.values():
            return now - batch.sent_at >= timing.acknowledge_timeout_s
        return False

    def _forget_wholes(self, taken: int) -> None:
        # Pieces of one record lie side by side: only the last that leaves can have more behind it.
        left = self._items[taken] if taken < len(self._items) else None
        for item in self._items[:taken]:
            if left is None or left.is_stream or item.key != left.key:
                self._wholes.pop(item.key, None)

    def _join(self, at: int, item: Item) -> bool:
        held = self._items[at]
        first = held.delta or self._decode(held.encoded)
        second = item.delta or self._decode(item.encoded)
        if not may_join(first, second):
            return False
        delta = joined(first, second)
        encoded = self._encode(delta)
        if len(encoded) > self._limits.item_bytes_max:
            return False
        self._bytes += len(encoded) - len(held.encoded)
        self._items[at] = Item(held.key, encoded, delta, mark=max(held.mark, item.mark))
        return True

    def _overflow(self) -> int:
        if (
            len(self._items) <= self._limits.outbox_deltas_max
            and self._bytes <= self._limits.outbox_bytes_max
        ):
            return 0
        count = len(self._items)
        self._items.clear()
        self._index.clear()
        self._wholes.clear()
        self._bytes = 0
        self.needs_repair = True
        return count


def _marks(items: list[Item], tracked: Container[Key]) -> dict[Key, int] | None:
    marks: dict[Key, int] = {}
    for item in items:
        if item.key in tracked:
            marks[item.key] = max(marks.get(item.key, 0), item.mark)
    return marks or None
