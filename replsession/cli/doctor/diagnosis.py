"""
From facts to findings: one function for each thing that may be wrong, in the order of the way of a
heartbeat: interface, address, route, group, sending, hearing oneself, hearing others, receivers.

Where one finding explains the next ones, only the first is told.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address

from replsession.cli.doctor import remedies
from replsession.cli.doctor.facts import Facts, Interface
from replsession.cli.doctor.findings import Finding, Severity, error, note, warning
from replsession.cli.doctor.others import about_others
from replsession.cli.doctor.receivers import about_receivers

CONTAINER_INTERFACES = ("docker", "br-", "cni", "veth", "virbr", "podman", "lxc", "flannel", "cali")
"""Beginnings of names that container engines give to interfaces whose networks end at the host."""

_ORDER = tuple(Severity)


def diagnosed(facts: Facts) -> tuple[Finding, ...]:
    """Return what is to be said, the first cause first."""
    found: list[Finding] = []
    for rule in (about_the_interface, about_the_address, about_the_route, about_the_group):
        if not _stops(found):
            found += rule(facts)
    if not _stops(found):
        found += about_sending(facts)
    if not _stops(found) and facts.address is not None:
        if facts.asked.group:
            found += about_others(facts)
        found += about_receivers(facts)
    # Causes first; among themselves they stay in the order of the way. What is said of one member
    # after another with the same words is said once.
    return tuple(dict.fromkeys(sorted(found, key=lambda each: _ORDER.index(each.severity))))


def _stops(found: list[Finding]) -> bool:
    return any(finding.severity is Severity.ERROR for finding in found)


def about_the_interface(facts: Facts) -> Iterator[Finding]:
    """Is it up, does it have a cable, does it do multicast?"""
    for interface in _meant(facts):
        name = interface.name
        if not interface.is_up:
            yield error(
                "interface-down",
                f"the network interface {name} is down",
                *remedies.link(name, facts.platform),
            )
        elif not interface.has_carrier and not _is_virtual(interface):
            yield error(
                "no-carrier",
                f"the network interface {name} is up, but has no link: no cable is plugged in, or "
                "the other end is off",
                (f"plug it in, or set its other end up; then: ip link show {name}",),
            )
        if _needs_multicast(interface, facts):
            # Some drivers do it all the same; then it is no cause yet.
            tell = warning if facts.heard_itself else error
            yield tell(
                "multicast-off",
                f"the network interface {name} is set to do no multicast",
                (f"ip link set {name} multicast on",),
                (f"ip link set {name} multicast off",),
            )


def _is_virtual(interface: Interface) -> bool:
    """Tell whether it has a link only while a container or a VPN's program is at its other end."""
    return interface.is_tunnel or interface.name.startswith(CONTAINER_INTERFACES)


def _needs_multicast(interface: Interface, facts: Facts) -> bool:
    if interface.has_multicast or not facts.asked.group:
        return False
    # A tunnel is told of as a whole (about_the_address).
    return not interface.is_loopback and not interface.is_tunnel


def _meant(facts: Facts) -> list[Interface]:
    """Return the interface in question; without an address, those that could have one."""
    if facts.interface is not None:
        return [facts.interface]
    if facts.asked.bind != "auto":
        bind = facts.asked.bind
        return [i for i in facts.interfaces if i.name == bind or i.has(bind)]
    with_addresses = [i for i in facts.interfaces if i.addresses and not i.is_loopback]
    # If any of them is up, it is not for want of an interface.
    return [] if any(i.is_up for i in with_addresses) else with_addresses


def about_the_address(facts: Facts) -> Iterator[Finding]:
    """Is there one, and can others dial it?"""
    asked, address, interface = facts.asked, facts.address, facts.interface
    if address is None:
        yield from _without_address(facts)
    elif IPv4Address(address).is_loopback and not asked.on_this_host:
        yield _loopback(address, facts)
    elif facts.interfaces and interface is None:
        yield error(
            "address-not-here",
            f"no network interface of this host has the address {address}",
            ("ip -brief address", 'bind="auto" (REPLSESSION_BIND=auto)'),
        )
    elif interface is not None and not facts.sees_others:
        # Where others are heard, it is a network that has them.
        yield from _narrow(address, interface, facts)


def _loopback(address: str, facts: Facts) -> Finding:
    here = sum(len(one.receivers) for one in facts.heard if one.kind == "ours")
    if here:
        return note(
            "loopback-address",
            f"a member here listens on {address}, as bind says: it sees the {here} on this host, "
            "and no other host can dial it",
        )
    return error(
        "loopback-address",
        f"a member here would listen on {address}, which no other host can dial",
        ('bind="auto" (REPLSESSION_BIND=auto), or an address that other hosts see',),
    )


def _narrow(address: str, interface: Interface, facts: Facts) -> Iterator[Finding]:
    asked = facts.asked
    mend, undo = _over_another(interface, facts)
    if _is_virtual(interface) and not interface.is_tunnel:
        yield warning(
            "container-address",
            f"a member here would listen on {address} of {interface.name}, a network of "
            "containers that ends at this host",
            mend,
            undo,
        )
    elif interface.is_tunnel:
        yield warning(
            "tunnel-address",
            f"a member here would listen on {address} of {interface.name}, a tunnel (VPN): "
            "multicast of a network seldom comes through one",
            mend,
            undo,
        )
    elif facts.in_container and not asked.on_this_host:
        yield note(
            "in-container",
            f"this is a container: its address {address} can be dialled from the same "
            "container network, and from other hosts only if that network spans them",
            ("docker run --network host …", "Kubernetes: a headless service's name as seed"),
        )


def _over_another(interface: Interface, facts: Facts) -> remedies.Remedy:
    """Return how a member gets an address in a network that has other hosts."""
    others = [each for each in _usable(facts) if each != interface and not _is_virtual(each)]
    if not others:
        return ('bind="…" (REPLSESSION_BIND): the interface that the other hosts see',), ()
    mend, undo = remedies.route(facts.asked.group, others, facts.platform)
    return (mend, undo) if facts.asked.bind == "auto" and facts.asked.group else (mend[1:], ())


def _usable(facts: Facts) -> list[Interface]:
    return [i for i in facts.interfaces if i.addresses and i.is_up and not i.is_loopback]


def _without_address(facts: Facts) -> Iterator[Finding]:
    asked = facts.asked
    if any(True for _ in about_the_interface(facts)):
        return
    usable = _usable(facts)
    towards = facts.towards_group
    if facts.route_refuses is not None and asked.bind == "auto":
        yield error(
            "route-refuses",
            f"a route forbids the way to {asked.group} ({facts.route_refuses.text}), so a member "
            "here would find no address",
            *remedies.route(asked.group, usable, facts.platform),
        )
    elif towards is not None and IPv4Address(towards).is_loopback:
        yield error(
            "loopback-route",
            f"the route to {asked.group} leads to the loopback interface, so a member here "
            "would have no address that others can dial",
            *remedies.route(asked.group, usable, facts.platform),
        )
    elif towards is None and len(usable) > 1 and asked.bind == "auto" and asked.group:
        names = ", ".join(f"{i.name} ({i.addresses[0].partition('/')[0]})" for i in usable)
        yield error(
            "no-multicast-route",
            f"there is no route to {asked.group}, and this host has several interfaces: {names}",
            *remedies.route(asked.group, usable, facts.platform),
        )
    else:
        only_6 = "" if usable or asked.bind != "auto" else "; members use IPv4 only"
        yield error("no-address", f"{facts.no_address}{only_6}", ("ip -brief address",))


def about_the_route(facts: Facts) -> Iterator[Finding]:
    """Does the kernel know a way to the group?"""
    interface = facts.interface
    if not facts.asked.group or interface is None or interface.is_loopback:
        return
    if facts.towards_group is None and facts.route_refuses is None:
        mend, undo = remedies.route(facts.asked.group, [interface], facts.platform)
        yield note(
            "no-multicast-route",
            f"there is no route to {facts.asked.group}; members name the interface themselves, "
            "other programs (ping) would not get there",
            mend[:1],
            undo,
        )


def about_the_group(facts: Facts) -> Iterator[Finding]:
    """Could the group be joined, and does the kernel say so?"""
    asked, failed, interface = facts.asked, facts.sockets_failed, facts.interface
    if failed is not None:
        if failed.reason == "EADDRINUSE":
            yield error(
                "group-port-taken",
                f"another program has UDP port {asked.port} and does not share it",
                (
                    f"ss -lunp 'sport = :{asked.port}'",
                    f'multicast=("{asked.group}", {asked.port + 1}) on all members',
                ),
            )
        elif failed.reason == "ENOBUFS":
            yield error(
                "cannot-join",
                f"the group cannot be joined: this host lets a socket join "
                f"{facts.memberships_max} groups ({failed.text})",
                *remedies.memberships(facts.memberships_max),
            )
        else:
            yield error("cannot-join", f"the group cannot be joined: {failed.text}")
    elif asked.group and facts.joined is not None and interface is not None:
        if not any(j.interface == interface.name and j.group == asked.group for j in facts.joined):
            yield _not_joined(interface, facts)


def _not_joined(interface: Interface, facts: Facts) -> Finding:
    group, address = facts.asked.group, facts.address or ""
    twins = [i for i in facts.interfaces if i != interface and i.has(address)]
    if not twins:
        return error(
            "not-joined",
            f"the kernel does not list {group} among the groups of {interface.name}, although it "
            "was joined",
            (f"ip maddress show dev {interface.name}",),
        )
    twin = twins[0]
    whole = next(own for own in twin.addresses if own.startswith(f"{address}/"))
    return error(
        "not-joined",
        f"{interface.name} and {twin.name} both have the address {address}, and the kernel joined "
        f"{group} on {twin.name}",
        (f"ip address del {whole} dev {twin.name}",),
        (f"ip address add {whole} dev {twin.name}",),
    )


def about_sending(facts: Facts) -> Iterator[Finding]:
    """Does what is sent leave, and come back?"""
    asked, failed = facts.asked, facts.send_failed
    if facts.address is None:
        return
    if failed is not None and failed.reason in ("EPERM", "EACCES"):
        yield error(
            "firewall-out",
            f"a firewall of this host forbids sending to {asked.group}:{asked.port}",
            *remedies.let_datagrams("OUTPUT", asked, facts.platform),
        )
    elif failed is not None:
        yield error("cannot-send", f"sending to {asked.group} fails: {failed.text}")
    elif facts.sent and not facts.heard_itself:
        yield error(
            "firewall-in",
            f"of {facts.sent} datagrams to {asked.group}:{asked.port} none came back to their own "
            "host: a firewall of this host drops what comes in",
            *remedies.let_datagrams("INPUT", asked, facts.platform),
        )
