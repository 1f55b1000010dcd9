"""
One run: faults and requests, then the healing, then silence; and the verdict.

* Safety: things go wrong while requests are made; the checkers look after every input.
* Liveness: faults end, and within a bounded virtual time all members must agree.
* Expiry: where sessions end by themselves, those that are used no more are over for all, and go.
* Silence: tombstones go where retention is short, and reading makes nobody send anything.
"""

from __future__ import annotations

import traceback
from dataclasses import dataclass

from replsession.identity import Key
from replsession.session.stamp import Stamp
from tests.simulation import aging, checkers, counting, principals
from tests.simulation.checkers import Failure
from tests.simulation.clients import Clients
from tests.simulation.cluster import Cluster
from tests.simulation.counting import Counting
from tests.simulation.faults import Faults
from tests.simulation.swarm import Swarm, Weather, calm, draw
from tests.simulation.trace import Trace
from tests.simulation.workload import Workload

FAULTS_MIN = 10
CHAOS_MAX_S = 150.0
SETTLE_MAX_S = 90.0
SWEEP_S = 6.0
"""A sweep of the buckets that are in use, with room."""
QUIET_S = 11.0
"""Two repair rounds of every member."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a run came to."""

    seed: int
    failure: str | None
    """Name of the checker and what it found; None: every promise held."""
    operations: int
    faults: int
    messages: int
    settled_s: float
    """From the end of the faults to agreement."""
    buried: int
    """Sessions that rule 1 ended although nobody had: its known cost."""
    waited: int
    """Requests of clients that waited for fresh state."""
    stale: int
    """Answers that were flagged as stale."""
    met: int
    """Commits that were acknowledged by as many members as was asked for."""
    short: int
    """Commits that were not, and said so."""
    counts: int
    """Counts that were added up at the end, at each member."""
    flashes: int
    """Messages that were looked for at the end, at each member."""
    trace_hash: str
    now: float

    @property
    def checker(self) -> str | None:
        """The checker that failed."""
        return None if self.failure is None else self.failure.partition(":")[0]

    def __str__(self) -> str:
        return (
            f"seed {self.seed}: {self.operations} operations, {self.faults} faults, "
            f"{self.messages} messages in {self.now:.0f} s of virtual time; agreed "
            f"{self.settled_s:.1f} s after the faults; {self.failure or 'every promise held'}"
        )


class Run:
    """
    One run of one seed.

    Args:
        swarm: What the seed has drawn.
        trace: Where it is written down.
    """

    def __init__(self, swarm: Swarm, trace: Trace) -> None:
        names = tuple("abcdefghi"[: swarm.members])
        self.swarm = swarm
        self.trace = trace
        self.cluster = Cluster(
            swarm.seed,
            names,
            swarm.config,
            swarm.weather,
            swarm.skews_s,
            trace,
            swarm.drifts,
            is_multicast=swarm.is_multicast,
            seeds=swarm.seeds(names),
        )
        self.workload = Workload(self.cluster, swarm)
        self.clients = Clients(self.cluster, swarm)
        self.counting = Counting(self.workload)
        self.faults = Faults(self.cluster, self.workload, swarm)
        self.settled_s = 0.0
        self.counts = self.messages = 0

    def run(self) -> Verdict:
        """Run all phases; a broken promise ends it."""
        failure = None
        try:
            self._phases()
        except Failure as found:
            failure = str(found)
        except Exception as error:  # noqa: BLE001 - whatever the core raises is what we look for
            where = traceback.extract_tb(error.__traceback__)[-1]
            failure = f"CRASH: {type(error).__name__} {error} in {where.name}:{where.lineno}"
            self.trace.detail(self.cluster.now, "crash", traceback.format_exc())
        self.trace.line(self.cluster.now, "verdict", failure or "every promise held")
        return self._verdict(failure)

    def _phases(self) -> None:
        for name in self.cluster.names:
            self.cluster.start(name)
        self.cluster.run(2.0)
        self.workload.start()
        self.clients.start()
        self.counting.start()
        self.faults.start()
        self._chaos()
        due, dead = self._heal()
        self._settle()
        self._check(due, dead)
        if self.swarm.is_mortal:
            due = self._expire(due)
        if self.swarm.is_long:
            self._forget()
        self._be_quiet()
        self._check(due, dead)
        for process in self.cluster.live():
            checkers.awake(process.name, process.timers, self.cluster.now - process.started_at)

    def _chaos(self) -> None:
        end = self.cluster.now + CHAOS_MAX_S
        while self.cluster.now < end and not (
            self._operations() >= self.swarm.operations and self.faults.count >= FAULTS_MIN
        ):
            self.cluster.run(0.5)

    def _operations(self) -> int:
        return self.workload.operations + self.clients.operations

    def _heal(self) -> tuple[dict[Key, dict[str, Stamp]], list[Key]]:
        self.trace.line(self.cluster.now, "fault", "everything heals")
        self.workload.is_over = self.clients.is_over = True
        self.faults.stop()
        calm = Weather(delay_s=self.swarm.weather.delay_s)
        self.cluster.network.weather = calm
        self.workload.keep()
        copies = self.cluster.copies()
        alive = self.cluster.alive_members()
        used = [browser.key for browser in self.workload.kept]
        due: dict[Key, dict[str, Stamp]] = {}
        dead: list[Key] = []
        for key, story in self.cluster.oracle.stories.items():
            records = [copy.records[key] for copy in copies if key in copy.records]
            if any(member in alive for member in story.knew):
                dead.append(key)
            elif key in self.cluster.ages.of and key not in used:
                # It may be over before all agree.
                continue
            elif any(checkers.is_served(record) for record in records):
                due[key] = self.cluster.oracle.newest(key, alive, records)
        return due, dead

    def _settle(self) -> None:
        began = self.cluster.now
        while True:
            self.cluster.run(0.5)
            if self.workload.pending:
                began = self.cluster.now
                continue
            self.settled_s = self.cluster.now - began
            try:
                copies = self.cluster.copies()
                checkers.ready(copies)
                checkers.agree(copies)
                return
            except Failure:
                if self.settled_s > SETTLE_MAX_S:
                    raise

    def _check(self, due: dict[Key, dict[str, Stamp]], dead: list[Key]) -> None:
        copies = self.cluster.copies()
        checkers.ready(copies)
        checkers.agree(copies)
        checkers.newest(copies, self._without_unshared(due))
        checkers.lost(copies, due, self.cluster.oracle)
        checkers.buried(self.cluster.oracle, self.swarm.is_long)
        checkers.stay_dead(copies, dead)
        alive = self.cluster.alive_members()
        oracle = self.cluster.oracle
        principals.nobody_stays(copies, oracle, alive)
        self.counts = counting.exact(copies, list(due), oracle, alive)
        self.messages = counting.messages(copies, list(due), oracle, alive)
        for copy in copies:
            self.clients.survive(copy.served, alive)

    def _without_unshared(self, due: dict[Key, dict[str, Stamp]]) -> dict[Key, dict[str, Stamp]]:
        """Leave out what somebody wrote who has dropped it asleep before all others had it."""
        stories = self.cluster.oracle.stories
        return {
            key: {name: s for name, s in stamps.items() if s.member not in stories[key].unshared}
            for key, stamps in due.items()
        }

    def _expire(self, due: dict[Key, dict[str, Stamp]]) -> dict[Key, dict[str, Stamp]]:
        """Let all that end by themselves end, and return what else is due."""
        self.workload.kept = []
        timing = self.swarm.config.timing
        late_s = max((age.late_s for age in self.cluster.ages.of.values()), default=0.0)
        longest_s = max(limits.idle_s or limits.lifetime_s or 0.0 for limits in self.swarm.limits)
        self.cluster.run(longest_s * 1.1 + timing.expiry_grace_s * 2 + SWEEP_S + late_s)
        copies = self.cluster.copies()
        aging.expired(self.cluster, copies, SWEEP_S)
        checkers.agree(copies)
        rounds = 2 * self.swarm.members
        self.cluster.run(rounds * timing.repair_interval_s + SWEEP_S)
        aging.sleeping(self.cluster.copies())
        return {key: stamps for key, stamps in due.items() if key not in self.cluster.ages.of}

    def _forget(self) -> None:
        self.cluster.run(self.swarm.config.timing.tombstone_retention_s + SWEEP_S)
        checkers.leak(self.cluster.copies())

    def _be_quiet(self) -> None:
        # What is still on its way when all agree for the first time arrives.
        end = self.cluster.now + SETTLE_MAX_S
        while self.cluster.now < end and not checkers.is_drained(self.cluster.copies()):
            self.cluster.run(1.0)
        self.cluster.run(QUIET_S)
        before = [(copy, checkers.stillness(copy.node)) for copy in self.cluster.copies()]
        sent = checkers.bytes_sent(self.cluster.copies())
        for _ in range(10):
            self.workload.read_somewhere()
            self.cluster.run(QUIET_S / 10)
        for copy, stillness in before:
            checkers.quiet(copy.name, stillness, checkers.stillness(copy.node))
        checkers.idle(self.cluster.copies(), sent, QUIET_S)

    def _verdict(self, failure: str | None) -> Verdict:
        network = self.cluster.network
        stories = self.cluster.oracle.stories.values()
        return Verdict(
            self.swarm.seed,
            failure,
            self._operations(),
            self.faults.count,
            network.frames_sent + network.datagrams_sent,
            self.settled_s,
            sum(story.buried and not story.ends for story in stories),
            self.clients.waited,
            self.clients.stale,
            self.clients.met,
            self.clients.short,
            self.counts,
            self.messages,
            self.trace.digest(),
            self.cluster.now,
        )


class CalmRun(Run):
    """A run in which nothing goes wrong, though links are slow and windows shut: no gap is seen."""

    def _phases(self) -> None:
        for name in self.cluster.names:
            self.cluster.start(name)
        self.cluster.run(4.0)
        self.workload.start()
        self.counting.start()
        self.faults.start()
        self._chaos()
        due, dead = self._heal()
        self._settle()
        checkers.gaps(self.cluster.copies())
        self._check(due, dead)


def run_calm(
    seed: int, members: int = 3, operations: int = 200, trace: Trace | None = None
) -> Verdict:
    """Run one seed without faults and return its verdict."""
    return CalmRun(calm(seed, members, operations), trace or Trace()).run()


def run_seed(
    seed: int, members: int = 3, operations: int = 400, trace: Trace | None = None
) -> Verdict:
    """Run one seed and return its verdict."""
    return Run(draw(seed, members, operations), trace or Trace()).run()
