"""The cluster: the processes of all members, the network between them, and the oracle."""

from __future__ import annotations

from random import Random

from replsession.config import NodeConfig
from replsession.events import Event, SessionChanged
from replsession.identity import Address, Key, MemberId
from tests.simulation import checkers, telling
from tests.simulation.network import Network
from tests.simulation.oracle import Oracle
from tests.simulation.process import Process
from tests.simulation.scheduler import Scheduler, split
from tests.simulation.swarm import Weather
from tests.simulation.trace import Trace

PORT = 4000


class Cluster:
    """
    Members by name, the network between them, and the oracle that watches.

    Args:
        seed: Of all randomness.
        names: Names of the members; nothing runs before ``start``.
        config: The same for all.
        weather: How the network behaves.
        skews_s: By how much the wall clock of each member is wrong; default: not at all.
        trace: Where it is written down.
    """

    def __init__(
        self,
        seed: int,
        names: tuple[str, ...],
        config: NodeConfig | None = None,
        weather: Weather | None = None,
        skews_s: tuple[float, ...] = (),
        trace: Trace | None = None,
    ) -> None:
        self.names = names
        self.config = config or NodeConfig()
        self.trace = trace or Trace()
        self.scheduler = Scheduler()
        self.oracle = Oracle()
        self.network = Network(
            self.scheduler, split(seed, "network"), weather or Weather(), self.trace
        )
        self.processes: dict[str, Process] = {}
        """The latest run of each member, alive or not."""
        self.events: list[tuple[float, str, Event]] = []
        self._heard: dict[tuple[MemberId, Key], list[str]] = {}
        self._skews_s = dict(zip(names, skews_s or (0.0,) * len(names), strict=True))
        self._rng = split(seed, "processes")

    @property
    def now(self) -> float:
        """Virtual time."""
        return self.scheduler.now

    def start(self, name: str, port: int = PORT) -> Process:
        """Start a member, or start it again: a new incarnation."""
        assert name not in self.processes or not self.processes[name].is_alive
        address = Address(f"10.0.0.{self.names.index(name) + 1}", port)
        process = Process(self, name, address, self._skews_s[name], Random(self._rng.random()))
        self.processes[name] = process
        self.network.hosts[address.host] = process
        what = f"starts as {telling.member(process.node.me.id)} on {address}"
        self.trace.line(self.now, name, what)
        process.post(lambda node, now: node.timer_fired(now))
        return process

    def start_all(self) -> None:
        """Start every member at once, and wait until all are ready."""
        for name in self.names:
            self.start(name)
        self.run(3.0)
        assert all(process.node.is_ready for process in self.processes.values())

    def run(self, seconds: float) -> None:
        """Let time pass."""
        self.scheduler.run_until(self.now + seconds)

    def crash(self, name: str) -> None:
        """Kill a member."""
        process = self.processes[name]
        process.is_alive = False
        self.trace.line(self.now, name, "crashes")
        self.network.vanish(process)

    def leave(self, name: str) -> None:
        """Stop a member gracefully."""
        process = self.processes[name]
        self.trace.line(self.now, name, "stops")
        process.post(lambda node, now: node.stop(now))
        process.is_alive = False
        for end in self.network.ends_of(process):
            self.network.close(end.id, "stopped")
        self.network.vanish(process)

    def pause(self, name: str) -> None:
        """Stop a member's process."""
        self.trace.line(self.now, name, "hangs")
        self.processes[name].pause()

    def resume(self, name: str) -> None:
        """Let a member's process go on."""
        if self.processes[name].is_paused:
            self.trace.line(self.now, name, "goes on")
            self.processes[name].resume()

    def pairs(self, some: list[str], others: list[str]) -> list[tuple[str, str]]:
        """Return the pairs of hosts between two groups of members, both ways."""
        ways = self.one_way(some, others) + self.one_way(others, some)
        return ways

    def one_way(self, some: list[str], others: list[str]) -> list[tuple[str, str]]:
        """Return the pairs of hosts from one group of members to another."""
        return [(self._host(a), self._host(b)) for a in some for b in others if a != b]

    def live(self) -> list[Process]:
        """Return the processes that are not dead."""
        return [process for process in self.processes.values() if process.is_alive]

    def copies(self) -> list[checkers.Copy]:
        """Return what every live member holds."""
        return [
            checkers.Copy(
                process.name,
                process.node,
                {record.key: record for record in process.node.store.records()},
            )
            for process in self.live()
        ]

    def told(self, process: Process, event: Event) -> None:
        """A node told an event."""
        self.events.append((self.now, process.name, event))
        if isinstance(event, SessionChanged):
            checkers.heard(self._heard, process.name, process.node.me.id, event)
        self.trace.line(self.now, process.name, telling.event(event))

    def alive_members(self) -> dict[MemberId, None]:
        """Return the ids of the processes that are not dead."""
        return {process.node.me.id: None for process in self.live()}

    def _host(self, name: str) -> str:
        return f"10.0.0.{self.names.index(name) + 1}"
