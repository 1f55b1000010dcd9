"""Many seeds, on several processes: which held, and what they came to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import count
from multiprocessing import get_context

from tests.simulation.planted import planted
from tests.simulation.run import Verdict, run_calm, run_seed

BATCH = 200
"""Seeds that are handed to the processes at a time, when there is no last one."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What a range of seeds came to."""

    verdicts: tuple[Verdict, ...]

    @property
    def failing(self) -> list[Verdict]:
        """The runs in which a promise was broken."""
        return [verdict for verdict in self.verdicts if verdict.failure is not None]

    def __str__(self) -> str:
        runs = self.verdicts
        return (
            f"{len(runs)} seeds, {len(runs) - len(self.failing)} held: "
            f"at least {min(run.operations for run in runs)} operations "
            f"and {min(run.faults for run in runs)} faults each, "
            f"{sum(run.operations for run in runs)} and {sum(run.faults for run in runs)} in all; "
            f"{sum(run.messages for run in runs)} messages; "
            f"{sum(run.waited for run in runs)} requests waited for fresh state, "
            f"{sum(run.stale for run in runs)} answers were flagged as stale; "
            f"{sum(run.met for run in runs)} write concerns met, "
            f"{sum(run.short for run in runs)} not; "
            f"{sum(run.counts for run in runs)} counts added up, "
            f"{sum(run.flashes for run in runs)} flashes looked for; "
            f"{sum(run.now for run in runs) / 3600:.1f} h of virtual time; "
            f"agreement at most {max(run.settled_s for run in runs):.1f} s after the faults; "
            f"{sum(run.buried for run in runs)} sessions buried without an end"
        )


def verdict_of(seed: int, members: int, bug: str | None, calm: bool) -> Verdict:
    """Run one seed with a bug, or none, in faults or in calm."""
    with planted(bug):
        return run_calm(seed, members) if calm else run_seed(seed, members)


def verdicts(
    seeds: Iterable[int],
    members: int = 3,
    processes: int = 2,
    bug: str | None = None,
    calm: bool = False,
) -> Iterator[Verdict]:
    """Yield the verdict of each seed in their order; the number of processes changes none."""
    run = partial(verdict_of, members=members, bug=bug, calm=calm)
    if processes == 1:
        yield from map(run, seeds)
        return
    with get_context("spawn").Pool(processes) as pool:
        yield from pool.imap(run, seeds)


def endless(
    first: int, members: int = 3, processes: int = 2, bug: str | None = None, calm: bool = False
) -> Iterator[Verdict]:
    """Yield verdicts from a first seed on, for as long as somebody takes them."""
    for begin in count(first, BATCH):
        yield from verdicts(range(begin, begin + BATCH), members, processes, bug, calm)


def summary(
    seeds: Iterable[int], members: int = 3, processes: int = 2, *, calm: bool = False
) -> Summary:
    """Run all seeds and return what they came to."""
    return Summary(tuple(verdicts(seeds, members, processes, calm=calm)))
