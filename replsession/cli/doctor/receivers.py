"""What is to be said of receivers: the port of a member here, and those of the others."""

from __future__ import annotations

from collections.abc import Iterator

from replsession.cli.doctor import remedies
from replsession.cli.doctor.facts import Facts, Peer
from replsession.cli.doctor.findings import Finding, error, note, warning


def about_receivers(facts: Facts) -> Iterator[Finding]:
    """Can a member listen here, and can those that are known be dialled?"""
    yield from own_port(facts)
    ended = {name for one in facts.others("ours") if facts.fell_silent(one) for name in one.names}
    for peer in facts.peers:
        if peer.why == "asked" or (peer.why in ("heartbeat", "seed") and peer.name not in ended):
            if not (peer.why == "seed" and facts.is_own(peer.host)):
                yield from _about(peer, facts)


def own_port(facts: Facts) -> Iterator[Finding]:
    """Yield whether a receiver's port is to be had on this host."""
    asked, taken = facts.asked, facts.ports_taken
    if not taken or asked.receiver_port not in taken:
        return
    if len(taken) < asked.auto_bind:
        return
    last = asked.receiver_port + asked.auto_bind - 1
    ports = f"port {last} is" if asked.auto_bind == 1 else f"ports {asked.receiver_port} to {last}"
    holders = [peer for peer in facts.peers if peer.port in taken and facts.is_own(peer.host)]
    if any(peer.speaks == "ours" for peer in holders):
        yield note("member-here", f"a member of this cluster on this host has TCP port {last}")
        return
    yield error(
        "receiver-port-taken",
        f"TCP {ports}{'' if asked.auto_bind == 1 else ' are'} taken on {facts.address} by "
        "another program",
        (
            f"port={last + 1} (REPLSESSION_PORT={last + 1})",
            f"ss -ltnp 'sport = :{asked.receiver_port}'",
        ),
    )


def _about(peer: Peer, facts: Facts) -> Iterator[Finding]:
    said = _said(peer, facts)
    # A seed that nobody hears may be a member that does not run just now.
    tell = warning if said == "is a seed" else error
    mend = remedies.let_connections(peer.host, facts.asked)
    if peer.answer == "no name":
        yield tell(
            "name-unknown",
            f"{peer.name} {said}, but this host finds no address of that name",
            (f"getent ahostsv4 {peer.host}",),
        )
    elif peer.answer == "no host":
        yield tell(
            "host-down",
            f"{peer.name} {said}, but no host of this network has that address: it is off, or the "
            "address is another one now",
            (f"ping -c 3 {peer.host}",),
        )
    elif peer.answer == "refused":
        yield tell(
            "tcp-refused",
            f"{peer.name} {said}, but refuses connections: a firewall rejects them, or nothing "
            "listens there",
            *mend,
        )
    elif peer.answer == "silent":
        yield tell(
            "tcp-silent",
            f"{peer.name} {said}, but does not answer connections: a firewall drops them, there "
            "or on the way",
            *mend,
        )
    elif peer.answer == "no route":
        yield tell(
            "no-route",
            f"{peer.name} {said}, but this host knows no way there",
            *remedies.way_to(peer.host, facts.interface),
        )
    elif peer.answer == "unreachable":
        yield tell(
            "tcp-unreachable",
            f"{peer.name} {said}, but connections are answered with an error of the network: a "
            "firewall there or a router rejects them",
            *mend,
        )
    else:
        yield from _about_who_speaks(peer, facts)


def _said(peer: Peer, facts: Facts) -> str:
    if peer.why == "asked":
        return "was asked for"
    if any(peer.name in one.names for one in facts.others("ours")):
        return "sends heartbeats"
    return "is a seed"


def _about_who_speaks(peer: Peer, facts: Facts) -> Iterator[Finding]:
    where, name = peer.name, facts.asked.name
    if peer.speaks == "nothing":
        yield error(
            "member-hangs",
            f"{where} takes connections and then says nothing: the process there is stopped or "
            "hangs, or it is no member",
            (f"on {peer.host}: ss -ltnp 'sport = :{peer.port}' (state T of its process: stopped)",),
        )
    elif peer.speaks == "ours" or not facts.asked.has_secret:
        return
    elif peer.speaks == "other version":
        yield error(
            "other-version",
            f"the member at {where} speaks another version's protocol",
            ("pip install --upgrade replsession, on all hosts",),
        )
    elif peer.speaks == "other secret":
        yield error(
            "other-secret",
            f"the member at {where} is of the cluster {name!r} but has another secret",
            ("secret= (REPLSESSION_SECRET): the same on all members",),
        )
    elif peer.speaks == "other name":
        yield warning(
            "other-name",
            f"the member at {where} is of a cluster that is not named {name!r}",
            (f'Cluster.lan("{name}") (REPLSESSION_CLUSTER) on all members',),
        )
    else:
        yield error(
            "other-program",
            f"what listens at {where} is no member of replsession",
            (
                f"on {peer.host}: ss -ltnp 'sport = :{peer.port}'",
                "port= (REPLSESSION_PORT) of the members, and --peer HOST:PORT here",
            ),
        )
