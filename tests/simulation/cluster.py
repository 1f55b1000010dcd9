"""The cluster: the processes of all members, the network between them, and the oracle."""

from __future__ import annotations

from random import Random

from replsession.config import NodeConfig
from replsession.events import Event, OutboxOverflowed, SessionChanged, SessionExpired
from replsession.identity import Address, Key, MemberId
from replsession.node import Node
from tests.simulation import checkers, telling
from tests.simulation.aging import Ages
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
        drifts: By which share the seconds of each member are too short; default: not at all.
        trace: Where it is written down.
        is_multicast: Whether heartbeats are carried.
        seeds: For each member, the names of those whose addresses it looks up.
    """

    def __init__(
        self,
        seed: int,
        names: tuple[str, ...],
        config: NodeConfig | None = None,
        weather: Weather | None = None,
        skews_s: tuple[float, ...] = (),
        trace: Trace | None = None,
        drifts: tuple[float, ...] = (),
        *,
        is_multicast: bool = True,
        seeds: dict[str, tuple[str, ...]] | None = None,
    ) -> None:
        self.names = names
        self.is_multicast = is_multicast
        self.seeds = seeds or {}
        self.config = config or NodeConfig()
        self.trace = trace or Trace()
        self.scheduler = Scheduler()
        self.oracle = Oracle()
        self.ages = Ages(self.config.timing)
        self.network = Network(
            self.scheduler, split(seed, "network"), weather or Weather(), self.trace
        )
        self.processes: dict[str, Process] = {}
        """The latest run of each member, alive or not."""
        self.events: list[tuple[float, str, Event]] = []
        self._heard: dict[tuple[MemberId, Key], list[str]] = {}
        self._skews_s = dict(zip(names, skews_s or (0.0,) * len(names), strict=True))
        self._drifts = dict(zip(names, drifts or (0.0,) * len(names), strict=True))
        self._rng = split(seed, "processes")

    @property
    def now(self) -> float:
        """Virtual time."""
        return self.scheduler.now

    def start(self, name: str, port: int = PORT) -> Process:
        """Start a member, or start it again: a new incarnation."""
        assert name not in self.processes or not self.processes[name].is_alive
        address = Address(f"10.0.0.{self.names.index(name) + 1}", port)
        rng = Random(self._rng.random())
        process = Process(self, name, address, self._skews_s[name], self._drifts[name], rng)
        self.processes[name] = process
        self.network.hosts[address.host] = process
        what = f"starts as {telling.member(process.node.me.id)} on {address}"
        self.trace.line(self.now, name, what)
        process.post(lambda node, now: node.timer_fired(now))
        if self.seeds.get(name):
            self._resolve(process)
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

    def step_clock(self, name: str, skew_s: float) -> None:
        """Set the wall clock of a host, which its member looks at when it starts."""
        self.trace.line(self.now, name, f"has its clock set to {skew_s:+.0f} s")
        self._skews_s[name] = skew_s

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
        return [(self.host(a), self.host(b)) for a in some for b in others if a != b]

    def live(self) -> list[Process]:
        """Return the processes that are not dead."""
        return [process for process in self.processes.values() if process.is_alive]

    def node_of(self, member: MemberId) -> Node | None:
        """Return the node of a process that is not dead, by the member's id."""
        return next((p.node for p in self.live() if p.node.me.id == member), None)

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
        if isinstance(event, OutboxOverflowed):
            process.undisturbed_since = self.now
        if isinstance(event, SessionExpired):
            # It may be dropped, and begin anew here if somebody else still uses it.
            self._heard.pop((process.node.me.id, event.key), None)
        if isinstance(event, SessionChanged):
            checkers.heard(self._heard, process.name, process.node.me.id, event)
        self.trace.line(self.now, process.name, telling.event(event))

    def alive_members(self) -> dict[MemberId, None]:
        """Return all names, in stamps, of the processes that are not dead."""
        return {writer: None for process in self.live() for writer in process.writers}

    def _resolve(self, process: Process) -> None:
        """Look up where the seeds of a process are now, and again as long as it lives."""
        if process.is_alive:
            names = [name for name in self.seeds[process.name] if name in self.processes]
            found = [self.processes[name].address for name in names]
            process.post(lambda node, now: node.addresses_found(found, now))
            interval_s = self.config.timing.resolve_interval_s
            self.scheduler.after(interval_s, lambda: self._resolve(process))

    def host(self, name: str) -> str:
        """Return the host of a member."""
        return f"10.0.0.{self.names.index(name) + 1}"
