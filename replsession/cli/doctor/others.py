"""What is to be said of what others sent to the group, and of what did not come."""

from __future__ import annotations

from collections.abc import Iterator

from replsession.cli.doctor import remedies
from replsession.cli.doctor.facts import Facts, Heard, Peer
from replsession.cli.doctor.findings import Finding, error, note, warning

SKEW_S = 5.0
"""Wall clocks further apart than this are worth a word; logs are hard to compare."""
SETTLED_S = 2.0
"""Another doctor that has listened for so long would have heard ours four times."""


def about_others(facts: Facts) -> Iterator[Finding]:
    """Who is heard, whose are they, and since when not?"""
    yield from strangers(facts)
    yield from formats(facts)
    silent = list(silences(facts))
    yield from silent
    yield from one_way(facts)
    yield from clocks(facts)
    if not facts.others("ours") and not facts.is_for_this_host:
        yield from nobody(facts)


def strangers(facts: Facts) -> Iterator[Finding]:
    """Yield members that use another secret or another cluster's name."""
    for heard in facts.of_strangers():
        speaks = {
            peer.speaks
            for peer in facts.peers
            if peer.host == heard.host and peer.port in heard.receivers
        }
        keys = f"key id {heard.key_id}" + (f", ours is {facts.key_id}" if facts.key_id else "")
        if not facts.asked.has_secret:
            yield warning(
                "secret-not-given",
                f"a member on {heard.host} is heard ({keys}); without the secret it is not told "
                "whether it is of this cluster",
                ("replsession doctor --secret-file FILE …",),
            )
        elif "other secret" in speaks:
            yield error(
                "other-secret",
                f"a member on {heard.host} is of the cluster {facts.asked.name!r} but has another "
                f"secret ({keys}){_hint(heard)}",
                ("secret= (REPLSESSION_SECRET): the same on all members",),
            )
        elif "other name" in speaks:
            yield warning(
                "other-name",
                f"a member on {heard.host} is of a cluster that is not named "
                f"{facts.asked.name!r} ({keys}){_hint(heard)}",
                (f'Cluster.lan("{facts.asked.name}") (REPLSESSION_CLUSTER) on all members',),
            )
        else:
            yield warning(
                "other-secret-or-name",
                f"a member on {heard.host} has another secret or another cluster's name "
                f"({keys}){_hint(heard)}",
                (
                    "secret= (REPLSESSION_SECRET) and name (REPLSESSION_CLUSTER): the same on all "
                    "members",
                ),
            )


def _hint(heard: Heard) -> str:
    return f": its key is that of {heard.hint}" if heard.hint else ""


def formats(facts: Facts) -> Iterator[Finding]:
    """Yield datagrams that are not what a member of this version sends."""
    for heard in facts.others("other version") + facts.others("unlike"):
        yield error(
            "other-version",
            f"what {heard.host} sends is of another version of replsession",
            ("pip install --upgrade replsession, on all hosts",),
        )
    for heard in facts.others("forged"):
        yield warning(
            "forged",
            f"{heard.host} sends datagrams under our key id that are not sealed with our secret: "
            "they are damaged on the way, or somebody makes them up",
        )
    for heard in facts.others("tomcat"):
        yield note(
            "tomcat",
            f"a Tomcat cluster on {heard.host} uses the same group; neither hinders the other",
        )
    for heard in facts.others("unknown"):
        yield note(
            "foreign-datagrams",
            f"{heard.host} sends datagrams to the group that are nobody's heartbeats",
        )


def silences(facts: Facts) -> Iterator[Finding]:
    """Yield members that were heard at first and then no more."""
    for heard in facts.others("ours"):
        if any(name in facts.rejoined_hears for name in heard.names):
            yield _not_snooped_on(heard, facts)
        elif facts.fell_silent(heard):
            yield _fell_silent(heard, facts)


def _not_snooped_on(heard: Heard, facts: Facts) -> Finding:
    return error(
        "snooping-without-querier",
        f"{heard.host} was heard for {heard.datagrams} datagrams, then no more until the group "
        "was joined anew: a switch snoops on IGMP, and no router asks who is in the group",
        (
            "on the switch: an IGMP querier on, or IGMP snooping off (Linux bridge: ip link set "
            "br0 type bridge mcast_querier 1)",
            *remedies.seeds(heard.names),
        ),
        ("on the switch: ip link set br0 type bridge mcast_querier 0",),
    )


def _fell_silent(heard: Heard, facts: Facts) -> Finding:
    peers = [peer for peer in facts.peers if peer.name in heard.names and peer.answer == "open"]
    where = ", ".join(heard.names)
    if not peers:
        return note(
            "member-left",
            f"the member at {where} has been silent since {heard.last_s:.0f} s and does not "
            "answer on TCP: it has ended, or its host is cut off",
        )
    if any(peer.speaks == "nothing" for peer in peers):
        port = peers[0].port
        return error(
            "member-hangs",
            f"the member at {where} has been silent since {heard.last_s:.0f} s, takes connections "
            "and then says nothing: its process is stopped or hangs",
            (f"on {heard.host}: ss -ltnp 'sport = :{port}' (state T of its process: stopped)",),
        )
    return error(
        "multicast-stopped",
        f"{where} was heard {heard.datagrams} times, the last time after {heard.last_s:.0f} s, "
        "and still answers on TCP: something began to drop its datagrams (IGMP snooping without "
        "a querier does so after some minutes)",
        (
            "on the switch: an IGMP querier on, or IGMP snooping off",
            *remedies.seeds(heard.names),
        ),
    )


def one_way(facts: Facts) -> Iterator[Finding]:
    """Yield hosts whose doctor does not hear this one."""
    for doctor in facts.doctors:
        if facts.is_own(doctor.host) or doctor.heard_for_s < SETTLED_S:
            continue
        if not any(facts.is_own(host) for host, _ in doctor.hears):
            yield warning(
                "one-way",
                f"this host hears the doctor on {doctor.host}, which does not hear this host: "
                "a firewall there, or the network, drops what this host sends",
                *_on(doctor.host, facts),
            )


def _on(host: str, facts: Facts) -> remedies.Remedy:
    mend, undo = remedies.let_datagrams("INPUT", facts.asked)
    return tuple(f"on {host}: {line}" for line in mend), tuple(f"on {host}: {u}" for u in undo)


def clocks(facts: Facts) -> Iterator[Finding]:
    """Yield hosts whose wall clocks are far from ours; members do not mind."""
    for doctor in facts.doctors:
        if abs(doctor.ahead_s) > SKEW_S:
            side = "ahead of" if doctor.ahead_s > 0 else "behind"
            yield note(
                "clock-skew",
                f"the clock of {doctor.host} is {abs(doctor.ahead_s):.0f} s {side} this host's; "
                "members do not mind, but times in logs will not fit",
            )


def nobody(facts: Facts) -> Iterator[Finding]:
    """Yield why no other member of this cluster is heard; the first that fits is the cause."""
    for rule in (_other_interface, _firewall_here, _found_by_seeds, _lost, _nobody):
        found = rule(facts)
        if found is not None:
            yield found
            return


def _other_interface(facts: Facts) -> Finding | None:
    elsewhere = [one for one in facts.elsewhere if not facts.is_own(one.host)]
    if not elsewhere:
        return None
    name = elsewhere[0].interface
    hosts = ", ".join(one.host for one in elsewhere if one.interface == name)
    interface = next(each for each in facts.interfaces if each.name == name)
    own = facts.interface.name if facts.interface else "another one"
    mend, undo = remedies.route(facts.asked.group, [interface], facts.platform)
    if facts.asked.bind != "auto":
        # Then a route would change nothing.
        mend, undo = mend[1:], ()
    return error(
        "heard-elsewhere",
        f"heartbeats of {hosts} come in on {name}, but a member here would use {own} "
        f"({facts.address})",
        mend,
        undo,
    )


def _firewall_here(facts: Facts) -> Finding | None:
    arrives = [
        wire.host
        for wire in facts.on_wire or ()
        if not facts.is_own(wire.host) and not _is_heard(facts, wire.host)
    ]
    back = [host for host in arrives if facts.is_elsewhere(host)]
    if back and facts.drops_without_way_back:
        return error(
            "no-way-back",
            f"datagrams of {', '.join(back)} arrive at this host's interface, but the kernel "
            "drops them (rp_filter), since it knows no way back to them",
            *remedies.way_to(back[0], facts.interface),
        )
    if not arrives:
        return None
    return error(
        "firewall-in",
        f"datagrams of {', '.join(arrives)} arrive at this host's interface, but a firewall "
        "of this host drops them",
        *remedies.let_datagrams("INPUT", facts.asked, facts.platform),
    )


def _found_by_seeds(facts: Facts) -> Finding | None:
    answering = [p.name for p in facts.peers if p.why == "seed" and _is_other_member(p, facts)]
    if not answering:
        return None
    return note(
        "found-by-seeds",
        f"{', '.join(answering)} is a seed and can be dialled; no heartbeats of it arrive, and "
        "none are needed",
    )


def _lost(facts: Facts) -> Finding | None:
    asked = [peer for peer in facts.peers if peer.why == "asked"]
    elsewhere = [p for p in asked if facts.is_elsewhere(p.host) and p.answer != "no route"]
    answering = [peer for peer in asked if _is_other_member(peer, facts)]
    if elsewhere:
        hosts = ", ".join(peer.host for peer in elsewhere)
        return error(
            "other-network",
            f"{hosts} is in another network, and heartbeats (TTL 1) stay in theirs",
            remedies.seeds([peer.name for peer in elsewhere]),
        )
    if not answering:
        return None
    names = [peer.name for peer in answering]
    return error(
        "multicast-lost",
        f"the member at {', '.join(names)} answers on TCP, but its heartbeats do not arrive: "
        "something between drops multicast",
        remedies.seeds(names),
    )


def _nobody(facts: Facts) -> Finding | None:
    if facts.of_strangers() or facts.others("unlike") or facts.others("other version"):
        return None
    if any(peer.why == "asked" and peer.answer != "open" for peer in facts.peers):
        # What keeps that one away is told.
        return None
    here = [one for one in facts.heard if one.kind == "ours" and facts.is_own(one.host)]
    beside = f" (beside {len(here)} on this host)" if here else ""
    mend: tuple[str, ...] = (
        "run replsession doctor on the other host at the same time",
        "replsession doctor --peer HOST:PORT …, with the address of another member",
    )
    if facts.on_wire is None and facts.platform == "linux":
        mend += ("sudo replsession doctor …, which hears what a firewall of this host drops",)
    return warning(
        "nobody-heard",
        f"nobody else of the cluster {facts.asked.name!r}{beside} was heard in "
        f"{facts.asked.seconds:g} s: none runs, or a firewall there or the network between drops "
        "multicast",
        mend,
    )


def _is_other_member(peer: Peer, facts: Facts) -> bool:
    return peer.speaks == "ours" and not facts.is_own(peer.host)


def _is_heard(facts: Facts, host: str) -> bool:
    return any(heard.host == host for heard in facts.heard) or any(
        doctor.host == host for doctor in facts.doctors
    )
