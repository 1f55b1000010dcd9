"""
Virtual time: one heap of things to do, in the order of their times, and randomness by purpose.

Two things at the same time happen in the order in which they were planned, so nothing ever depends
on how Python compares or hashes them.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from random import Random

Call = Callable[[], None]


def split(seed: int, purpose: str) -> Random:
    """
    Return the randomness of one purpose.

    A draw more for one purpose does not shift the others, so that a seed stays the same story when
    one part of the simulation changes.
    """
    return Random(f"{seed}/{purpose}")


class Scheduler:
    """Seconds of virtual time; nothing here waits."""

    def __init__(self) -> None:
        self.now = 0.0
        self._planned: list[tuple[float, int, Call]] = []
        self._sequence = 0

    def after(self, delay_s: float, call: Call) -> None:
        """Plan *call* for *delay_s* from now."""
        self.at(self.now + delay_s, call)

    def at(self, time: float, call: Call) -> None:
        """Plan *call* for a time; one in the past is now."""
        self._sequence += 1
        heappush(self._planned, (max(time, self.now), self._sequence, call))

    def run_until(self, time: float) -> None:
        """Do everything up to a time, and be there then."""
        planned = self._planned
        while planned and planned[0][0] <= time:
            self.now, _, call = heappop(planned)
            call()
        self.now = time
