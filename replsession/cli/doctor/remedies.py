"""Commands that mend, and those that undo them; the first to mend is the one that is undone."""

from __future__ import annotations

from collections.abc import Sequence

from replsession.cli.doctor.facts import Interface, Question

Remedy = tuple[tuple[str, ...], tuple[str, ...]]
"""Ways to mend, and how the first is undone."""


def route(group: str, interfaces: Sequence[Interface]) -> Remedy:
    """Return how a route to a group is made, over the first of some interfaces."""
    names = [interface.name for interface in interfaces] or ["eth0"]
    mend = tuple(f"ip route replace {group}/32 dev {name}" for name in names[:1])
    settings = tuple(f'bind="{name}" (REPLSESSION_BIND={name})' for name in names)
    return (*mend, *settings), (f"ip route del {group}/32 dev {names[0]}",)


def way_to(host: str, interface: Interface | None) -> Remedy:
    """Return how a route to one host is made over an interface."""
    name = interface.name if interface else "eth0"
    return (
        (f"ip route add {host}/32 dev {name}", f"on {host}: an address in this host's network"),
        (f"ip route del {host}/32 dev {name}",),
    )


def let_datagrams(chain: str, asked: Question) -> Remedy:
    """Return how heartbeats are let through the firewall of this host."""
    rule = f"{chain} -p udp -d {asked.group} --dport {asked.port} -j ACCEPT"
    more = f"ufw allow proto udp to {asked.group} port {asked.port}" if chain == "INPUT" else ""
    return tuple(filter(None, (f"iptables -I {rule}", more))), (f"iptables -D {rule}",)


def let_connections(host: str, asked: Question) -> Remedy:
    """Return how another host's firewall lets members dial it."""
    last = min(asked.receiver_port + asked.auto_bind - 1, 65535)
    rule = f"INPUT -p tcp --dport {asked.receiver_port}:{last} -j ACCEPT"
    where = f"on {host}: "
    return (
        (f"{where}iptables -I {rule}", f"{where}ufw allow {asked.receiver_port}:{last}/tcp"),
        (f"{where}iptables -D {rule}",),
    )


def seeds(hosts: Sequence[str], asked: Question) -> tuple[str, ...]:
    """Return the setting that finds members without multicast."""
    addresses = [f"{host}:{asked.receiver_port}" for host in hosts]
    listed = ", ".join(f'"{address}"' for address in addresses)
    comma = "," if len(addresses) == 1 else ""
    return (f"seeds=({listed}{comma}) (REPLSESSION_SEEDS={','.join(addresses)})",)
