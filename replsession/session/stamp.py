"""
Stamps: the total order of all writes, made by a hybrid logical clock.

A stamp is ``(hlc, member)``. The upper 48 bits of ``hlc`` are Unix milliseconds, the lower 16 a
counter; of two stamps the greater one wins. The clock is raised above every stamp it is shown, so a
write always beats what its writer had read, however wrong the wall clocks are.

A rule for the whole package: stamps are compared with stamps and never with a wall clock. To
refuse "stamps from the future" is to stop converging as soon as one machine's clock is ahead
(docs/design.md, rule 9). Only values near the end of 64 bits are refused, since nothing could be
written after them.

A member whose clock was pushed to the end could write nothing that others take: with one stamp,
whoever holds the secret of the cluster could so shut every other member out. So a clock follows
what it is shown up to ``OBSERVED_MAX`` and no further, while stamps up to ``HLC_MAX`` are taken:
the 2**40 writes that a member can still make lie between the two and are refused by nobody. What
comes from there is merged, and beaten one session at a time (:meth:`HybridClock.above`). To refuse
it instead would not help: whatever the bound is, a clock pushed right below it makes stamps above.

What remains: whoever holds the secret can leave a session with a stamp that nothing can follow. It
is read, and ended by the next write to it, so its user begins a new one; no other session is
touched. A member whose clock was pushed reaches the end all the same after 2**40 writes; then the
cluster has to be started anew.

Source: Kulkarni, Demirbas et al., "Logical Physical Clocks", 2014.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from replsession.identity import MemberId

COUNTER_BITS = 16
HLC_MAX = 2**64 - 2**48
"""Values from here on are no stamps; whoever sends one is refused."""
OBSERVED_MAX = HLC_MAX - 2**40
"""No clock follows another one beyond it: its own next 2**40 values stay below ``HLC_MAX``."""


class Stamp(NamedTuple):
    """When and by whom, in the total order of writes; compares as a tuple."""

    hlc: int
    member: MemberId


class Seen(NamedTuple):
    """What a client has seen of its session, as its token says."""

    version: Mapping[MemberId, int]
    """Writers and the greatest clock value seen of each."""
    clock: int
    """The greatest of all: what the client writes must be above it."""


NOTHING_SEEN = Seen(MappingProxyType({}), 0)


class HybridClock:
    """
    Hands out values that only grow, near the wall clock when nobody is ahead of it.

    Not thread-safe: it belongs to one node.
    """

    __slots__ = ("last", "was_shown_the_end")

    def __init__(self) -> None:
        self.last = 0
        self.was_shown_the_end = False
        """Whether there are stamps that it does not follow, so that :meth:`above` is needed."""

    def tick(self, wall_s: float) -> int:
        """Return a value above all that were returned or observed; *wall_s* is Unix seconds."""
        wall = int(wall_s * 1000) << COUNTER_BITS
        last = self.last + 1
        self.last = last = wall if last < wall < OBSERVED_MAX else last
        return last

    def observe(self, hlc: int) -> None:
        """Raise the clock to at least *hlc*, so that the next tick is above it."""
        if hlc > self.last:
            if hlc < OBSERVED_MAX:
                self.last = hlc
            else:
                self.was_shown_the_end = True

    def above(self, tick: int, greatest: int) -> int | None:
        """
        Return a value above *greatest*, all that a writer has read, for that one write.

        Args:
            tick: What :meth:`tick` has returned for it; the clock itself goes no further.
            greatest: The greatest value in the record.

        Returns:
            None: nothing can be above it.
        """
        hlc = max(tick, greatest + 1)
        return hlc if hlc < HLC_MAX else None
