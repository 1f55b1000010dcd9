"""
The sleeping: which records of a store are asleep, since when, and how many bytes they take.

They are bounded in bytes, and the longest asleep go first. Source of the way in which the longest
asleep is found: a heap that is tidied lazily, as in the notes of Python's ``heapq``.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush

from replsession.identity import Key

TIDY_FROM = 64
"""Entries of the heap from which on it is tidied when more than half of them are stale."""


class Sleepers:
    """
    The sleeping records of one store.

    Args:
        bytes_max: Their bytes together.
    """

    __slots__ = ("_bytes_max", "_heap", "_sizes", "bytes", "since")

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._heap: list[tuple[float, Key]] = []
        self._sizes: dict[Key, int] = {}
        self.bytes = 0
        self.since: dict[Key, float] = {}
        """When each of them fell asleep, in seconds of the monotonic clock."""

    def __contains__(self, key: Key) -> bool:
        return key in self.since

    def __len__(self) -> int:
        return len(self.since)

    def put(self, key: Key, since: float, size: int) -> None:
        """Take note that a record sleeps, or that it has another size now."""
        self.bytes += size - self._sizes.get(key, 0)
        self._sizes[key] = size
        if self.since.get(key) != since:
            self.since[key] = since
            heappush(self._heap, (since, key))
            if len(self._heap) > max(TIDY_FROM, 2 * len(self.since)):
                self._heap = [(since, key) for key, since in self.since.items()]
                heapify(self._heap)

    def discard(self, key: Key) -> None:
        """Take note that a record does not sleep, or is gone."""
        if self.since.pop(key, None) is not None:
            self.bytes -= self._sizes.pop(key)

    @property
    def are_too_many(self) -> bool:
        """Whether all together are more bytes than they may be."""
        return self.bytes > self._bytes_max

    def longest_asleep(self) -> Key:
        """Return the one that fell asleep first; there must be one."""
        while self.since.get(self._heap[0][1]) != self._heap[0][0]:
            heappop(self._heap)
        return self._heap[0][1]
