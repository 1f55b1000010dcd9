"""
Counting: requests that count and flash at any member, and checkers that add up for themselves.

* COUNT: after the healing every member shows of a counter what was assigned last, and exactly the
  sum of all that was counted on it by members that live. Of what a member counted that died, or
  that let the session go before others had it, those counts are there that somebody holds.
* FLASH: it shows each message that a living member flashed and nobody popped, and none that was
  popped through a living member.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

import cbor2

from replsession.identity import Key, MemberId
from replsession.session.change import Change
from replsession.session.flashes import Flash
from replsession.session.record import Record
from replsession.session.stamp import Stamp
from tests.simulation import telling
from tests.simulation.checkers import Copy, Failure
from tests.simulation.oracle import Oracle, Story, base_in, greatest_in, is_held
from tests.simulation.process import Process
from tests.simulation.scheduler import split
from tests.simulation.workload import Workload

NAMES = ("hits", "views")
"""Of the counters; the second one is also assigned and removed now and then."""
COUNTS_SHARE = 0.6
"""Of seeds that count at all."""
AMOUNTS = (1, 1, 1, 5, -2, 2**40)
BURST = 8


def expected(
    story: Story, record: Record, name: str, alive: dict[MemberId, None]
) -> tuple[int | None, int]:
    """
    Return what a record must show of a counter, None for nothing, and of how many counts.

    Args:
        story: All that happened to the session.
        record: Of one member; what it holds of members that died is taken as it is.
        name: Of the counter.
        alive: Ids, in stamps, of the members that run.
    """
    counts = [
        count
        for count in story.counts
        if count.name == name
        and (_is_due(story, count.stamp.member, alive) or is_held(record, count))
    ]
    epoch = max([base_in(record, name), *(count.epoch for count in counts)])
    amounts = [count.amount for count in counts if count.epoch == epoch]
    # What is counted on is known by its counts alone, if its writer died.
    base = story.writes[Stamp(*epoch)].values[name] if epoch[0] else None
    value = None if base is None else cbor2.loads(base)
    if not amounts:
        return value, 0
    return (value or 0) + sum(amounts), len(amounts)


def _is_due(story: Story, writer: MemberId, alive: dict[MemberId, None]) -> bool:
    return writer in alive and writer not in story.unshared


def exact(
    copies: Sequence[Copy], due: Sequence[Key], oracle: Oracle, alive: dict[MemberId, None]
) -> int:
    """COUNT: every member shows exactly the sum; return how many counts were added up."""
    added = 0
    for copy in copies:
        for key in due:
            record = copy.served.get(key)
            for name in NAMES if record is not None else ():
                assert record is not None
                sum_, counts = expected(oracle.stories[key], record, name, alive)
                value = record.values().get(name)
                shown = None if value is None else cbor2.loads(value)
                if shown != sum_:
                    what = f"{name!r} is {shown}, and {counts} counts make {sum_}"
                    raise Failure("COUNT", f"{copy.name}: session {telling.key(key)}: {what}")
                added += counts
    return added


def messages(
    copies: Sequence[Copy], due: Sequence[Key], oracle: Oracle, alive: dict[MemberId, None]
) -> int:
    """FLASH: the messages that wait are there, those that were popped are not; return how many."""
    looked_at = 0
    for copy in copies:
        for key in due:
            record, story = copy.served.get(key), oracle.stories[key]
            shown = {} if record is None else {f.id: None for f in record.values().flashes}
            for id, writer in story.flashed.items() if record is not None else ():
                poppers = story.popped.get(id, [])
                is_gone = any(_is_due(story, popper, alive) for popper in poppers)
                is_waiting = not poppers and _is_due(story, writer, alive)
                if (is_gone and id in shown) or (is_waiting and id not in shown):
                    what = f"message {id.hex()} is {'back' if is_gone else 'gone'}"
                    raise Failure("FLASH", f"{copy.name}: session {telling.key(key)}: {what}")
                looked_at += is_gone or is_waiting
    return looked_at


@dataclass(slots=True)
class Counting:
    """Requests that count in the sessions of a workload, until it is over."""

    workload: Workload
    rng: Random = field(init=False)
    counted: int = 0

    def __post_init__(self) -> None:
        self.rng = split(self.workload.swarm.seed, "counting")

    def start(self) -> None:
        """Begin to count, in those seeds that do."""
        if self.rng.random() < COUNTS_SHARE:
            self._turn()

    def _turn(self) -> None:
        if self.workload.is_over:
            return
        cluster, rng = self.workload.cluster, self.rng
        delay_s = rng.expovariate(0.5 / self.workload.swarm.operation_every_s)
        cluster.scheduler.after(delay_s, self._turn)
        fit = [process for process in cluster.live() if not process.is_paused]
        keys = self.workload.in_use()
        if not fit or not keys:
            return
        process, key = rng.choice(fit), rng.choice(keys)
        times = BURST if rng.random() < 0.05 else 1
        # All at once: they are in one delta, or follow one another while the window is shut.
        process.post(lambda node, now: self._count_often(process, key, times))

    def _count_often(self, process: Process, key: Key, times: int) -> None:
        for _ in range(times):
            self._count(process, key)

    def _count(self, process: Process, key: Key) -> None:
        record = process.open(key)
        if record is None:
            return
        rng = self.rng
        drawn, read = rng.random(), greatest_in(record)
        if drawn > 0.95:
            gone = tuple(flash.id for flash in record.values().flashes)
            self._later(process, Change(key, {}, popped=gone), read)
        elif drawn > 0.85:
            made = tuple(Flash(rng.randbytes(8), "info", b"\x01") for _ in range(2))
            process.commit(Change(key, {}, flashed=made[: rng.choice((1, 2))]), read)
        elif drawn < 0.06:
            # Its own name, so that counts on what was there before are told from those after.
            base: dict[str, bytes | None] = {"views": cbor2.dumps(rng.randrange(100))}
            process.commit(Change(key, base), read)
        elif drawn < 0.09:
            process.commit(Change(key, {"views": None}), read)
        else:
            names = rng.sample(NAMES, rng.choice((1, 1, 2)))
            increments = {name: rng.choice(AMOUNTS) for name in names}
            writes: dict[str, Any] = {"cart": b"\x01"} if drawn > 0.8 else {}
            process.commit(Change(key, writes, increments=increments), read)
            self.counted += 1

    def _later(self, process: Process, change: Change, read: int) -> None:
        # Others flash while the page is made.
        def commit() -> None:
            process.post(lambda node, now: process.commit(change, read))

        self.workload.cluster.scheduler.after(self.rng.choice((0.0, 0.1, 3.0)), commit)
