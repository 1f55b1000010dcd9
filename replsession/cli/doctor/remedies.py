"""Commands that mend, and those that undo them; the first to mend is the one that is undone."""

from __future__ import annotations

from collections.abc import Sequence

from replsession.cli.doctor.facts import Interface, Question

Remedy = tuple[tuple[str, ...], tuple[str, ...]]
"""Ways to mend, and how the first is undone."""


MACOS = "darwin"
_MAC_FIREWALL = "sudo /usr/libexec/ApplicationFirewall/socketfilterfw"


def link(name: str, platform: str) -> Remedy:
    """Return how an interface is set up."""
    command = f"sudo ifconfig {name}" if platform == MACOS else f"ip link set {name}"
    return (f"{command} up",), (f"{command} down",)


def route(group: str, interfaces: Sequence[Interface], platform: str) -> Remedy:
    """Return how a route to a group is made, over the first of some interfaces."""
    if platform == MACOS:
        # Interfaces cannot be named there (channel/addresses.py), addresses can.
        name = interfaces[0].name if interfaces else "en0"
        own = [i.addresses[0].partition("/")[0] for i in interfaces if i.addresses]
        bind = tuple(f'bind="{address}" (REPLSESSION_BIND={address})' for address in own)
        words = f"-net {group} -interface {name}"
        return (f"sudo route -nv add {words}", *bind), (f"sudo route -nv delete {words}",)
    names = [interface.name for interface in interfaces] or ["eth0"]
    settings = tuple(f'bind="{name}" (REPLSESSION_BIND={name})' for name in names)
    mend = f"ip route replace {group}/32 dev {names[0]}"
    return (mend, *settings), (f"ip route del {group}/32 dev {names[0]}",)


def way_to(host: str, interface: Interface | None) -> Remedy:
    """Return how a route to one host is made over an interface."""
    name = interface.name if interface else "eth0"
    return (
        (f"ip route add {host}/32 dev {name}", f"on {host}: an address in this host's network"),
        (f"ip route del {host}/32 dev {name}",),
    )


def let_datagrams(chain: str, asked: Question, platform: str = "linux") -> Remedy:
    """Return how heartbeats are let through the firewall of this host."""
    if platform == MACOS and chain == "OUTPUT":
        # Its own firewall judges only what comes in; packet filter rules were set by somebody.
        return ("sudo pfctl -s rules",), ()
    if platform == MACOS:
        python = '"$(which python3)"'
        return (f"{_MAC_FIREWALL} --add {python}",), (f"{_MAC_FIREWALL} --remove {python}",)
    rule = f"{chain} -p udp -d {asked.group} --dport {asked.port} -j ACCEPT"
    tools = (
        f"ufw allow proto udp to {asked.group} port {asked.port}",
        f"firewall-cmd --add-port={asked.port}/udp",
    )
    more = tools if chain == "INPUT" else ()
    return (f"iptables -I {rule}", *more, "nft list ruleset"), (f"iptables -D {rule}",)


def let_connections(host: str, asked: Question) -> Remedy:
    """Return how another host's firewall lets members dial it."""
    last = min(asked.receiver_port + asked.auto_bind - 1, 65535)
    rule = f"INPUT -p tcp --dport {asked.receiver_port}:{last} -j ACCEPT"
    where = f"on {host}: "
    return (
        (
            f"{where}iptables -I {rule}",
            f"{where}ufw allow {asked.receiver_port}:{last}/tcp",
            f"{where}firewall-cmd --add-port={asked.receiver_port}-{last}/tcp",
        ),
        (f"{where}iptables -D {rule}",),
    )


def memberships(most: int | None) -> Remedy:
    """Return how a socket may join more groups; 20 is Linux's own number."""
    setting = "sysctl -w net.ipv4.igmp_max_memberships="
    return (f"{setting}20",), (() if most is None else (f"{setting}{most}",))


def seeds(addresses: Sequence[str]) -> tuple[str, ...]:
    """Return the setting that finds members without multicast."""
    listed = ", ".join(f'"{address}"' for address in addresses)
    comma = "," if len(addresses) == 1 else ""
    return (f"seeds=({listed}{comma}) (REPLSESSION_SEEDS={','.join(addresses)})",)
