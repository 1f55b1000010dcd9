"""What is to be said of receivers: the port of a member here, and those of the others."""

from __future__ import annotations

from collections.abc import Iterator

from replsession.cli.doctor import remedies
from replsession.cli.doctor.facts import Facts, Peer
from replsession.cli.doctor.findings import Finding, error, note, warning


def about_receivers(facts: Facts) -> Iterator[Finding]:
    """Can a member listen here, and can those that are known be dialled?"""
    yield from own_port(facts)
    ended = [heard.host for heard in facts.others("ours") if facts.fell_silent(heard)]
    for peer in facts.peers:
        if peer.why == "asked" or (peer.why == "heartbeat" and peer.host not in ended):
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
    where = f"{peer.host}:{peer.port}"
    said = "sends heartbeats" if peer.why == "heartbeat" else "was asked for"
    mend = remedies.let_connections(peer.host, facts.asked)
    if peer.answer == "refused":
        yield error(
            "tcp-refused",
            f"{where} {said}, but refuses connections: a firewall rejects them, or nothing "
            "listens there",
            *mend,
        )
    elif peer.answer == "silent":
        yield error(
            "tcp-silent",
            f"{where} {said}, but does not answer connections: a firewall drops them, there or "
            "on the way",
            *mend,
        )
    elif peer.answer == "no route":
        yield error(
            "no-route",
            f"{where} {said}, but this host knows no way there",
            *remedies.way_to(peer.host, facts.interface),
        )
    elif peer.answer == "unreachable":
        yield error("tcp-unreachable", f"{where} {said}, but cannot be reached over TCP", *mend)
    else:
        yield from _about_who_speaks(peer, facts)


def _about_who_speaks(peer: Peer, facts: Facts) -> Iterator[Finding]:
    where, name = f"{peer.host}:{peer.port}", facts.asked.name
    if peer.speaks == "ours" or not facts.asked.has_secret:
        return
    if peer.speaks == "other secret":
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
            ("port= (REPLSESSION_PORT) of the members, and --peer HOST:PORT here",),
        )
