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

AMBUSH_S = 5.0
"""A member that starts has asked for its state by then."""
PARTIAL_S = (6.0, 15.0)
"""Long enough for both to give each other up, and to write to each other through a third."""
FLAPS = (5, 20)
FLAP_S = (0.02, 0.8)
SLOW_MEMBER_S = (0.2, 2.5)
"""Up to nearly the silence after which a member is suspected."""


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

    def _cut(self, what: str, pairs: list[tuple[str, str]], lasts_s: float | None = None) -> bool:
        lasts_s = self._lasts_s() if lasts_s is None else lasts_s
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

    def _partial(self) -> bool:
        one, other = self._some(2)
        pairs = self.cluster.pairs([one], [other])
        lasts_s = max(self._lasts_s(), self.rng.uniform(*PARTIAL_S))
        return self._cut(f"cuts {one} and {other}, all others see both", pairs, lasts_s)

    def _flap(self) -> bool:
        one, other = self._some(2)
        pairs = self.cluster.pairs([one], [other])
        turns = self.rng.randrange(*FLAPS)
        self._note(f"the line between {one} and {other} flaps {turns} times")
        self._flap_once(pairs, turns)
        return True

    def _flap_once(self, pairs: list[tuple[str, str]], turns: int) -> None:
        network = self.cluster.network
        network.cut(pairs)

        def mend() -> None:
            network.mend(pairs)
            if turns > 1 and not self.is_over:
                self._until(self.rng.uniform(*FLAP_S), lambda: self._flap_again(pairs, turns - 1))

        self._until(self.rng.uniform(*FLAP_S), mend)

    def _flap_again(self, pairs: list[tuple[str, str]], turns: int) -> None:
        if not self.is_over:
            self._flap_once(pairs, turns)

    def _half_open(self) -> bool:
        name = self._live()
        ends = [] if name is None else self.cluster.network.ends_of(self.cluster.processes[name])
        if not ends:
            return False
        end = self.rng.choice(ends)
        self._note(f"{end.host.name} loses link {end.id}, {end.other.host.name} does not notice")
        self.cluster.network.half_open(end, "connection timed out")
        return True

    def _slow_member(self) -> bool:
        (name,) = self._some(1)
        host = self.cluster.host(name)
        extra_s = self.rng.uniform(*SLOW_MEMBER_S)
        self._note(f"all that {name} sends takes {extra_s:.1f} s longer")
        slowed = self.cluster.network.slowed
        slowed[host] = extra_s

        def hurry_up() -> None:
            slowed.pop(host, None)

        self._until(self._lasts_s(), hurry_up)
        return True

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

    def _crash_donor(self) -> bool:
        return self._ambush("a donor", self._donors)

    def _crash_joiner(self) -> bool:
        return self._ambush("a joiner", self._joiners)

    def _join_together(self) -> bool:
        some = [process.name for process in self.cluster.live() if not process.is_paused]
        if len(some) < 2:
            return False
        together = self.rng.sample(some, self.rng.randint(2, len(some)))
        for name in together:
            self.cluster.crash(name)
        self._note(f"{' '.join(together)} start together")

        def restart() -> None:
            for name in together:
                if not self.cluster.processes[name].is_alive:
                    self.cluster.start(name)

        self._until(self.rng.choice((0.05, 0.5, 4.0)), restart)
        return True

    def _ambush(self, whom: str, find: Callable[[], list[str]]) -> bool:
        # A transfer is short, and rarely one is under way: somebody starts again, and whoever is
        # looked for is awaited.
        name = self._live()
        if name is None:
            return False
        self._note(f"{name} starts again, in wait for {whom}")
        self.cluster.crash(name)
        self.cluster.start(name)
        self._lie_in_wait(whom, find, self.cluster.now + AMBUSH_S)
        return True

    def _lie_in_wait(self, whom: str, find: Callable[[], list[str]], until: float) -> None:
        def look() -> None:
            names = [] if self.is_over else find()
            if names and self.rng.random() < 0.5:
                name = self.rng.choice(names)
                self._note(f"caught {whom}: {name}")
                self.count += 1
                self.cluster.crash(name)
                self._restart_later(name)
            elif self.cluster.now < until and not self.is_over:
                self._lie_in_wait(whom, find, until)

        self.cluster.scheduler.after(self.rng.uniform(0.0005, 0.02), look)

    def _donors(self) -> list[str]:
        return [
            process.name
            for process in self.cluster.live()
            if any(peer.donor is not None for peer in process.node.peers)
        ]

    def _joiners(self) -> list[str]:
        return [
            process.name
            for process in self.cluster.live()
            if not process.node.is_ready and process.node.transfers.joiner.donor is not None
        ]

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

    def _clock_step(self) -> bool:
        # Set while its member runs, which looks at it only when it starts.
        self.cluster.step_clock(self._some(1)[0], self.rng.choice((0.0, 3600.0, -3600.0)))
        return True

    def _burst(self) -> bool:
        self._note("burst of requests")
        self.workload.burst()
        return True
