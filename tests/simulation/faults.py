"""
The faults: each begins, lasts, and is taken back; some happen at once.

All draw from one randomness of their own, so a seed's faults do not depend on its workload.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from random import Random

from tests.simulation.cluster import PORT, Cluster
from tests.simulation.scheduler import split
from tests.simulation.swarm import Swarm
from tests.simulation.workload import Workload


@dataclass(slots=True)
class Faults:
    """Makes things go wrong until it is told to stop, then takes everything back."""

    cluster: Cluster
    workload: Workload
    swarm: Swarm
    count: int = 0
    is_over: bool = False
    rng: Random = field(init=False)
    _undone: int = 0
    _undo: dict[int, Callable[[], None]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.rng = split(self.swarm.seed, "faults")

    def start(self) -> None:
        """Begin."""
        self._plan()

    def stop(self) -> None:
        """Take back whatever still lasts; nothing goes wrong any more."""
        self.is_over = True
        for number in list(self._undo):
            self._undo.pop(number)()
        for process in self.cluster.live():
            process.dies_after = None

    def _plan(self) -> None:
        delay_s = self.rng.expovariate(1.0 / self.swarm.fault_every_s)
        self.cluster.scheduler.after(delay_s, self._turn)

    def _turn(self) -> None:
        if self.is_over:
            return
        self._plan()
        fault = self.rng.choice(self.swarm.faults)
        if getattr(self, f"_{fault}")():
            self.count += 1

    def _lasts_s(self) -> float:
        return self.rng.uniform(*self.swarm.fault_lasts_s)

    def _note(self, what: str) -> None:
        self.cluster.trace.line(self.cluster.now, "fault", what)

    def _until(self, lasts_s: float, undo: Callable[[], None]) -> None:
        self._undone += 1
        number = self._undone
        self._undo[number] = undo

        def take_back() -> None:
            call = self._undo.pop(number, None)
            if call is not None:
                call()

        self.cluster.scheduler.after(lasts_s, take_back)

    def _some(self, count: int) -> list[str]:
        return self.rng.sample(self.cluster.names, count)

    def _live(self) -> str | None:
        names = [process.name for process in self.cluster.live() if not process.is_paused]
        return self.rng.choice(names) if names else None

    def _cut(self, what: str, pairs: list[tuple[str, str]]) -> bool:
        lasts_s = self._lasts_s()
        self._note(f"{what} for {lasts_s:.1f} s")
        network = self.cluster.network
        network.cut(pairs)

        def mend() -> None:
            self._note(f"mends: {what}")
            network.mend(pairs)

        self._until(lasts_s, mend)
        return True

    def _cut_pair(self) -> bool:
        one, other = self._some(2)
        return self._cut(f"cuts {one} and {other}", self.cluster.pairs([one], [other]))

    def _cut_one_way(self) -> bool:
        one, other = self._some(2)
        return self._cut(f"cuts {one} to {other}", self.cluster.one_way([one], [other]))

    def _isolate(self) -> bool:
        (one,) = self._some(1)
        others = [name for name in self.cluster.names if name != one]
        return self._cut(f"isolates {one}", self.cluster.pairs([one], others))

    def _halves(self) -> bool:
        half = self._some(len(self.cluster.names) // 2)
        others = [name for name in self.cluster.names if name not in half]
        return self._cut(f"cuts off {' '.join(half)}", self.cluster.pairs(half, others))

    def _reset_links(self) -> bool:
        name = self._live()
        if name is None:
            return False
        self._note(f"resets links of {name}")
        network = self.cluster.network
        for end in network.ends_of(self.cluster.processes[name]):
            if self.rng.random() < 0.7:
                network.reset(end, "connection reset")
        return True

    def _pause(self) -> bool:
        name = self._live()
        if name is None:
            return False
        self.cluster.pause(name)
        process = self.cluster.processes[name]

        def resume() -> None:
            if process.is_alive:
                self.cluster.resume(name)

        self._until(self._lasts_s(), resume)
        return True

    def _crash(self) -> bool:
        name = self._live()
        if name is None:
            return False
        self.cluster.crash(name)
        self._restart_later(name)
        return True

    def _crash_between_frames(self) -> bool:
        name = self._live()
        if name is None:
            return False
        self.cluster.processes[name].dies_after = self.rng.choice((0, 1, 1, 2))
        self._restart_later(name)
        return True

    def _leave(self) -> bool:
        name = self._live()
        if name is None:
            return False
        self.cluster.leave(name)
        self._restart_later(name)
        return True

    def _restart_later(self, name: str) -> None:
        port = PORT if self.rng.random() < 0.6 else PORT + self.rng.randrange(1, 10)
        delay_s = self.rng.choice((0.05, 0.5, 3.0, 6.0))

        def restart() -> None:
            process = self.cluster.processes[name]
            if not process.is_alive:
                self.cluster.start(name, port)
            elif process.dies_after is not None and not self.is_over:
                self._until(delay_s, restart)

        self._until(delay_s, restart)

    def _storm(self) -> bool:
        self._note("storm: heartbeats are lost")
        return self._weather(datagram_loss=self.rng.choice((0.7, 1.0)))

    def _slow(self) -> bool:
        self._note("everything is slow")
        low, high = self.cluster.network.weather.delay_s
        return self._weather(delay_s=(low * 5, min(high * 10, 1.0)))

    def _weather(self, **changes: object) -> bool:
        network = self.cluster.network
        network.weather = replace(network.weather, **changes)  # type: ignore[arg-type]

        def calm_down() -> None:
            fields = {name: getattr(self.swarm.weather, name) for name in changes}
            network.weather = replace(network.weather, **fields)

        self._until(self.rng.uniform(0.5, 5.0), calm_down)
        return True

    def _burst(self) -> bool:
        self._note("burst of requests")
        self.workload.burst()
        return True
