"""
Several hosts on one bridge, and what can happen to a network.

::

    with network(3) as net:                         10.77.0.1 to .3, and net.client, .100
        one, two, three = net.hosts
        server = processes.uvicorn(…, prefix=one.prefix)
        with net.cut(one, two), net.lossy(0.1):     undone at the end of the block
            …

1. The bridge lives in a namespace of its own; nothing here touches the network of the machine.
2. Cuts and losses are between hosts. The client, where the browsers of a test run, reaches every
   host through all of them. Only what is done to an interface as a whole cuts the client off too.
3. Each fault is a block. Whatever happens inside, the fault is undone at its end.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from tests.cluster.namespaces import CommandFailed, Namespace, namespace, run, some_name

HOSTS_MAX = 50
CLIENT = 100
"""Last part of the client's address."""
BRIDGE = "bridge0"
BURST = "4kb"
"""What a slow link lets through at once."""
QUEUE_S = 0.4
"""How long a slow link keeps what it cannot send yet, before it drops it."""
NO_RESET = ("-p", "tcp", "!", "--tcp-flags", "RST", "RST")
"""Segments but resets: what one end rejects the other must hear of."""
RESET = ("-j", "REJECT", "--reject-with", "tcp-reset")


@dataclass(frozen=True)
class Network:
    """Hosts on a bridge; every method is a fault, and a block."""

    hosts: tuple[Namespace, ...]
    client: Namespace
    switch: str
    """Namespace of the bridge."""

    @contextmanager
    def one_way(self, source: Namespace, target: Namespace) -> Iterator[None]:
        """Nothing that *source* sends arrives at *target*; the other direction works."""
        with _rule(target, "-s", source.address, "-j", "DROP"):
            yield

    @contextmanager
    def cut(self, one: Namespace, other: Namespace) -> Iterator[None]:
        """Nothing passes between two hosts."""
        with self.one_way(one, other), self.one_way(other, one):
            yield

    @contextmanager
    def isolated(self, host: Namespace) -> Iterator[None]:
        """Nothing passes between a host and all others."""
        with self.halves([host], self._others(host)):
            yield

    @contextmanager
    def deaf(self, host: Namespace) -> Iterator[None]:
        """Nothing that others send arrives at a host; they hear it."""
        with ExitStack() as cuts:
            for other in self._others(host):
                cuts.enter_context(self.one_way(other, host))
            yield

    @contextmanager
    def mute(self, host: Namespace) -> Iterator[None]:
        """Nothing that a host sends arrives at any other; it hears them."""
        with ExitStack() as cuts:
            for other in self._others(host):
                cuts.enter_context(self.one_way(host, other))
            yield

    @contextmanager
    def shunned(self, host: Namespace) -> Iterator[None]:
        """A host and all others reject each other's connections."""
        with ExitStack() as rejections:
            for other in self._others(host):
                rejections.enter_context(self.rejected(host, other))
            yield

    @contextmanager
    def halves(self, left: Sequence[Namespace], right: Sequence[Namespace]) -> Iterator[None]:
        """Nothing passes between any host of one half and any of the other."""
        with ExitStack() as cuts:
            for one in left:
                for other in right:
                    cuts.enter_context(self.cut(one, other))
            yield

    @contextmanager
    def rejected(self, one: Namespace, other: Namespace) -> Iterator[None]:
        """Two hosts answer each other's connections with resets; heartbeats pass."""
        with (
            _rule(one, "-s", other.address, *NO_RESET, *RESET),
            _rule(other, "-s", one.address, *NO_RESET, *RESET),
        ):
            yield

    @contextmanager
    def lossy(self, share: float) -> Iterator[None]:
        """
        Hosts lose some of what they send to each other, datagrams and segments alike.

        Args:
            share: 0 to 1.
        """
        chance = ("-m", "statistic", "--mode", "random", "--probability", str(share))
        with ExitStack() as losses:
            for host in self.hosts:
                for other in self._others(host):
                    losses.enter_context(
                        _rule(host, "-s", other.address, *chance, "-j", "DROP"),
                    )
            yield

    @contextmanager
    def unplugged(self, host: Namespace) -> Iterator[None]:
        """The host's link is down."""
        host.down()
        try:
            yield
        finally:
            host.up()

    @contextmanager
    def without_interface(self, host: Namespace) -> Iterator[None]:
        """The host's interface does not exist; afterwards it has a new one, same address."""
        run("ip", "-n", host.name, "link", "del", "eth0")
        try:
            yield
        finally:
            self._plug_in(host)

    @contextmanager
    def slow(self, host: Namespace, rate: str) -> Iterator[None]:
        """
        The host's link is slow in both directions, for the client as well.

        Args:
            rate: As ``tc`` takes it, for example ``"256kbit"``.
        """
        ends = ((host.name, "eth0"), (self.switch, _port(host)))
        bucket = ("tbf", "rate", rate, "burst", BURST, "latency", f"{QUEUE_S * 1000:.0f}ms")
        with ExitStack() as undo:
            for name, interface in ends:
                run("tc", "-n", name, "qdisc", "add", "dev", interface, "root", *bucket)
                undo.callback(run, "tc", "-n", name, "qdisc", "del", "dev", interface, "root")
            yield

    def _others(self, host: Namespace) -> Sequence[Namespace]:
        return [other for other in self.hosts if other != host]

    def _plug_in(self, host: Namespace) -> None:
        peer = ("peer", _port(host), "netns", self.switch)
        run("ip", "-n", host.name, "link", "add", "eth0", "type", "veth", *peer)
        run("ip", "-n", self.switch, "link", "set", _port(host), "master", BRIDGE, "up")
        run("ip", "-n", host.name, "addr", "add", f"{host.address}/24", "dev", "eth0")
        host.up()


@contextmanager
def network(hosts: int) -> Iterator[Network]:
    """
    Make so many hosts and a client on one bridge, and nothing else: no default route, no names.

    Args:
        hosts: 1 to 50.

    Raises:
        CommandFailed: this is not permitted here; :func:`why_not` tells.
    """
    assert 1 <= hosts <= HOSTS_MAX
    name = some_name()
    made = tuple(Namespace(f"{name}-{n}", f"10.77.0.{n}") for n in range(1, hosts + 1))
    net = Network(made, Namespace(f"{name}-c", f"10.77.0.{CLIENT}"), f"{name}-s")
    with ExitStack() as namespaces:
        for one in (net.switch, *(host.name for host in (*made, net.client))):
            namespaces.enter_context(namespace(one))
        # Without snooping the bridge floods multicast, as most switches do. Else it would send it
        # to members of a group only, and forget those after a while: there is no router to ask.
        quiet = ("mcast_snooping", "0", "stp_state", "0", "forward_delay", "0")
        run("ip", "-n", net.switch, "link", "add", BRIDGE, "type", "bridge", *quiet)
        run("ip", "-n", net.switch, "link", "set", BRIDGE, "up")
        for host in (*made, net.client):
            net._plug_in(host)
        yield net


def why_not() -> str | None:
    """Return why no such network, or none of its faults, can be made here; None if they can."""
    missing = [tool for tool in ("ip", "iptables", "tc") if shutil.which(tool) is None]
    if missing:
        return f"no network of one's own: no {', '.join(missing)} command"
    try:
        with network(2) as net:
            one, other = net.hosts
            with net.lossy(0.1), net.rejected(one, other), net.slow(one, "1mbit"):
                one.run("true")
    except CommandFailed as error:
        return f"no network of one's own: {error}"
    return None


@contextmanager
def _rule(host: Namespace, *rule: str) -> Iterator[None]:
    """Put a rule for what arrives at a host before all others."""
    # First, so that a cut is a cut whatever else is lost.
    host.run("iptables", "-w", "-I", "INPUT", *rule)
    try:
        yield
    finally:
        host.run("iptables", "-w", "-D", "INPUT", *rule)


def _port(host: Namespace) -> str:
    return "port" + host.address.rpartition(".")[2]
