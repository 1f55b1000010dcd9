"""
Stamps: the total order of all writes, made by a hybrid logical clock.

A stamp is ``(hlc, member)``. The upper 48 bits of ``hlc`` are Unix milliseconds, the lower 16 a
counter; of two stamps the greater one wins. The clock is raised above every stamp it is shown, so a
write always beats what its writer had read, however wrong the wall clocks are.

A rule for the whole package: stamps are compared with stamps and never with a wall clock. To
refuse "stamps from the future" is to stop converging as soon as one machine's clock is ahead
(docs/design.md, rule 9). Only values near the end of 64 bits are refused, since nothing could be
written after them.

Source: Kulkarni, Demirbas et al., "Logical Physical Clocks", 2014.
"""

from __future__ import annotations

from typing import NamedTuple

from replsession.identity import MemberId

COUNTER_BITS = 16
HLC_MAX = 2**64 - 2**48
"""Greatest value taken from another member; it leaves room for 2**48 writes after it."""


class Stamp(NamedTuple):
    """When and by whom, in the total order of writes; compares as a tuple."""

    hlc: int
    member: MemberId


class HybridClock:
    """
    Hands out values that only grow, near the wall clock when nobody is ahead of it.

    Not thread-safe: it belongs to one node.
    """

    __slots__ = ("last",)

    def __init__(self) -> None:
        self.last = 0

    def tick(self, wall_s: float) -> int:
        """Return a value above all that were returned or observed; *wall_s* is Unix seconds."""
        wall = int(wall_s * 1000) << COUNTER_BITS
        last = self.last + 1
        self.last = last = wall if wall > last else last
        return last

    def observe(self, hlc: int) -> None:
        """Raise the clock to at least *hlc*, so that the next tick is above it."""
        if hlc > self.last:
            self.last = hlc
