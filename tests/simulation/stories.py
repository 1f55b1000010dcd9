"""What directed scenarios are told with: sessions, requests, and a cluster that obeys."""

from __future__ import annotations

from typing import TypeVar

from replsession.config import Limits, NodeConfig, Timing
from replsession.events import (
    Event,
)
from replsession.identity import Key
from replsession.session.change import Change
from replsession.session.expiry import SessionLimits, encoded_limits
from replsession.session.record import INTERVAL, SECRET
from tests.simulation import checkers
from tests.simulation.cluster import Cluster
from tests.simulation.oracle import greatest_in
from tests.simulation.process import Process
from tests.simulation.swarm import Weather

Kind = TypeVar("Kind", bound=Event)

SHORT = Timing(tombstone_retention_s=16.0, tombstone_margin_s=7.0)
LONG_CUT_S = 25.0
"""Longer than tombstones are kept, and swept, in SHORT."""


def key_of(number: int) -> Key:
    """Return a key; the numbers are spread over the buckets."""
    return Key("/", bytes([number % 256]) + number.to_bytes(11, "big"))


def create(process: Process, number: int = 1, **values: bytes) -> Key:
    """Create a session at a member."""
    key = key_of(number)
    process.post(
        lambda node, now: process.commit(
            Change(key, {SECRET: b"s" * 16, **(values or {"cart": b"\x01"})}, birth=True)
        )
    )
    return key


def create_idle(
    process: Process, idle_s: float, lifetime_s: float | None = None, **values: bytes
) -> Key:
    """Create a session that is over when it was idle, or lived, for so long."""
    key = key_of(7)
    limits = encoded_limits(SessionLimits(idle_s, lifetime_s))
    writes = {SECRET: b"s" * 16, INTERVAL: limits, **(values or {"cart": b"\x01"})}
    process.post(lambda node, now: process.commit(Change(key, dict(writes), birth=True)))
    return key


def write(process: Process, key: Key, **values: bytes | None) -> bool:
    """Read a session at a member, write to it, and tell whether there was one to write to."""
    found = []

    def request(node: object, now: float) -> None:
        record = process.open(key)
        if record is not None:
            change = Change(key, dict(values))
            found.append(process.commit(change, greatest_in(record)) is not None)

    process.post(request)
    return found == [True]


def invalidate(process: Process, key: Key) -> None:
    """End a session at a member."""
    process.post(lambda node, now: process.commit(Change(key, {}, destroy=True)))


def values(process: Process, key: Key) -> dict[str, bytes] | None:
    """Return what a request at this member would find."""
    record = process.open(key)
    return None if record is None else record.values()


def told(cluster: Cluster, name: str, kind: type[Kind], since: float = 0.0) -> list[Kind]:
    """Return the events of one kind that a member told."""
    return [
        event
        for at, who, event in cluster.events
        if who == name and at >= since and isinstance(event, kind)
    ]


def agree(cluster: Cluster) -> None:
    """Assert that all live members are ready, see each other, and serve the same."""
    checkers.ready(cluster.copies())
    checkers.agree(cluster.copies())


def directly(cluster: Cluster) -> bool:
    """Tell whether all live members are ready and see each other, without help of others."""
    try:
        checkers.ready(cluster.copies())
    except checkers.Failure:
        return False
    return True


def until_directly(cluster: Cluster, most_s: float) -> float:
    """Let time pass until all see each other; return how long it took."""
    began = cluster.now
    while not directly(cluster):
        assert cluster.now - began < most_s, f"not within {most_s} s of virtual time"
        cluster.run(0.05)
    return cluster.now - began


def cluster_of(
    names: str = "abc",
    *,
    limits: Limits | None = None,
    timing: Timing | None = None,
    weather: Weather | None = None,
    started: bool = True,
    is_multicast: bool = True,
    seeds: dict[str, tuple[str, ...]] | None = None,
) -> Cluster:
    """Return a cluster, running unless it is said otherwise."""
    config = NodeConfig(limits or Limits(), timing or Timing())
    cluster = Cluster(1, tuple(names), config, weather, is_multicast=is_multicast, seeds=seeds)
    if started:
        cluster.start_all()
    return cluster


def members(cluster: Cluster) -> list[Process]:
    """Return the members' latest processes, in the order of their names."""
    return [cluster.processes[name] for name in cluster.names]
