"""A look at this machine: everything that the system, the group and the others tell, as facts."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import IPv4Interface
from typing import Final

from replsession.channel.addresses import resolve_bind
from replsession.cli.doctor import peers, system
from replsession.cli.doctor.facts import Facts, Heard, Interface, Question
from replsession.cli.doctor.listening import Listening, failure_of
from replsession.config import ClusterSettings
from replsession.identity import Address
from replsession.security.keys import ClusterKeys

LOOPBACK: Final = "127.0.0.1"


def look(
    settings: ClusterSettings,
    seconds: float,
    asked_peers: Sequence[Address] = (),
    seeds: Sequence[Address] = (),
) -> Facts:
    """
    Return what there is to see.

    Args:
        settings: Those of the cluster.
        seconds: How long to listen to the group.
        asked_peers: Receivers to dial beside those that announce themselves.
        seeds: Those of the settings.
    """
    asked = question_of(settings, seconds)
    # Without the secret only a doctor hears itself: nobody can have sealed with this one.
    secret = settings.secret or secrets.token_urlsafe(32)
    keys = ClusterKeys(secret, settings.name)
    found = system.interfaces()
    towards = system.towards(asked.group, asked.port) if asked.group else None
    facts = Facts(
        asked,
        found,
        platform=sys.platform,
        routes=system.routes(),
        towards_group=towards if isinstance(towards, str) else None,
        route_refuses=failure_of(towards) if isinstance(towards, OSError) else None,
        memberships_max=system.memberships_max(),
        in_container=system.is_container(),
        key_id=keys.key_id.hex() if settings.secret else "",
        own_addresses=_addresses_of(found),
    )
    facts = _with_address(facts)
    if facts.address is None:
        return facts
    if asked.group:
        facts = _with_the_group(facts, facts.address, keys, settings)
    return _with_receivers(facts, facts.address or LOOPBACK, keys, asked_peers, seeds)


def question_of(settings: ClusterSettings, seconds: float) -> Question:
    """Return what is asked about a cluster with these settings."""
    group, port = settings.multicast or ("", 0)
    return Question(
        settings.name,
        group,
        port,
        settings.bind,
        settings.port,
        settings.auto_bind,
        settings.on_this_host,
        settings.secret is not None,
        seconds,
        settings.node.timing.drop_after_s,
    )


def nearly_ours(secret: str, name: str) -> dict[str, str]:
    """
    Return key ids that a small mistake makes, each with the mistake.

    A secret that was read from a file with its line end, or in quotation marks, is another secret;
    a name with a capital letter is another name.
    """
    mistakes = {
        "a secret that ends with a line end": (secret + "\n", name),
        "a secret that ends with a blank": (secret + " ", name),
        "a secret in quotation marks": (f'"{secret}"', name),
        "a secret in single quotation marks": (f"'{secret}'", name),
        "our secret without the blanks or line ends around it": (secret.strip(), name),
        "our secret and the name local": (secret, "local"),
        "our name in small letters": (secret, name.lower()),
        "our name in capital letters": (secret, name.upper()),
        "our name with a capital letter": (secret, name.capitalize()),
        "our name without the blanks around it": (secret, name.strip()),
        "our name with lan: before it": (secret, f"lan:{name}"),
    }
    own = ClusterKeys(secret, name).key_id.hex()
    known = {ClusterKeys(*which).key_id.hex(): what for what, which in mistakes.items()}
    known.pop(own, None)
    return known


def _with_address(facts: Facts) -> Facts:
    asked = facts.asked
    if asked.on_this_host and asked.bind == "auto":
        return replace(facts, address=LOOPBACK)
    try:
        address = resolve_bind(
            asked.bind,
            (asked.group, asked.port) if asked.group else None,
            loopback_allowed=asked.on_this_host,
        )
    except OSError as error:
        return replace(facts, no_address=str(error.strerror or error))
    return replace(facts, address=address)


def _with_the_group(
    facts: Facts, address: str, keys: ClusterKeys, settings: ClusterSettings
) -> Facts:
    interface = facts.interface
    name = interface.name if interface else None
    listening = Listening(facts.asked, address, name, keys, _other_interfaces(facts))
    listening.run()
    heard = listening.heard
    if settings.secret:
        hints = nearly_ours(settings.secret, settings.name)
        heard = tuple(replace(one, hint=hints.get(one.key_id, "")) for one in heard)
    return replace(
        facts,
        drops_without_way_back=bool(interface and system.drops_without_way_back(interface.name)),
        joined=listening.joined,
        sockets_failed=listening.failed,
        sent=listening.sent,
        send_failed=listening.send_failed,
        heard_itself=listening.heard_itself,
        heard=heard,
        rejoined_hears=listening.rejoined_hears,
        on_wire=listening.on_wire,
        elsewhere=listening.elsewhere,
        doctors=listening.doctors,
    )


def _with_receivers(
    facts: Facts,
    address: str,
    keys: ClusterKeys,
    asked_peers: Sequence[Address],
    seeds: Sequence[Address],
) -> Facts:
    asked = facts.asked
    taken = system.ports_taken(address, asked.receiver_port, asked.auto_bind)
    wanted = wanted_peers(facts.heard, asked_peers, seeds)
    if taken and asked.auto_bind == len(taken):
        # Who has them: members of this cluster, or other programs?
        wanted += [(Address(address, port), "own port") for port in taken]
    once = list(dict(wanted[::-1]).items())[::-1]
    return replace(facts, ports_taken=taken, peers=peers.dial_all(once, keys, facts.asked.name))


def wanted_peers(
    heard: Sequence[Heard], asked_peers: Sequence[Address], seeds: Sequence[Address] = ()
) -> list[tuple[Address, str]]:
    """Return the receivers to dial, and why; each only at the host that it was heard from."""
    wanted = [(address, "asked") for address in asked_peers]
    wanted += [(address, "seed") for address in seeds]
    for kind, why in (("ours", "heartbeat"), ("other key", "stranger")):
        wanted += [
            (Address(one.host, port), why)
            for one in heard
            if one.kind == kind
            for port in one.receivers
        ]
    return wanted


def _other_interfaces(facts: Facts) -> dict[str, str]:
    """Return the other interfaces that could be those of the group, and the address of each."""
    return {
        each.name: str(IPv4Interface(each.addresses[0]).ip)
        for each in facts.interfaces
        if each.addresses and each.is_up and each.has_multicast and each != facts.interface
    }


def _addresses_of(found: Sequence[Interface]) -> tuple[str, ...]:
    return tuple(str(IPv4Interface(own).ip) for each in found for own in each.addresses)
