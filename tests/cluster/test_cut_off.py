"""
Members that cannot reach each other, or only badly, with load on both sides: all agree afterwards.

The client of the bridge reaches every member through all of this, so that both halves are written
to while they are apart.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import pytest

from tests.cluster.bridge import Network
from tests.cluster.loaded import LoadedCluster
from tests.cluster.members import Member
from tests.cluster.namespaces import Namespace

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240)]

REQUESTS = 400
"""Of a phase of a test: about a second."""
FLAPS = 6
Cut = Callable[[Network, Namespace, Namespace], AbstractContextManager[None]]
Fault = Callable[[Network, Namespace], AbstractContextManager[None]]
CUTS = (Network.cut, Network.one_way, Network.rejected)


def wait_apart(left: Sequence[Member], right: Sequence[Member], marks: Sequence[int]) -> None:
    """Wait until each side takes the other for gone; *marks* is where the logs ended before."""
    after = dict(zip((*left, *right), marks, strict=True))
    for one in left:
        for other in right:
            one.wait_gone(other, after=after[one])
            other.wait_gone(one, after=after[other])


@pytest.mark.parametrize("cut", CUTS)
def test_a_pair_that_is_cut_off_hears_of_each_other_through_the_third(
    cluster: LoadedCluster, cut: Cut
) -> None:
    one, two, _ = cluster.members
    with cut(cluster.network, one.host, two.host):
        cluster.wait_linked(two, one, is_linked=False)
        with cluster.load() as load:
            load.wait_answers(REQUESTS)
        cluster.wait_same()
        until = time.monotonic()
    cluster.check(load)
    assert all(load.writes(load.started_at, until, member) for member in cluster.members)


def test_a_pair_that_is_cut_off_meets_again_under_load(cluster: LoadedCluster) -> None:
    one, two, _ = cluster.members
    with cluster.load() as load:
        for cut in CUTS:
            with cut(cluster.network, one.host, two.host):
                cluster.wait_linked(two, one, is_linked=False)
                load.wait_answers(REQUESTS // 4)
            cluster.wait_linked(two, one, is_linked=True)
    cluster.check(load)


@pytest.mark.parametrize("fault", [Network.isolated, Network.deaf, Network.mute, Network.shunned])
def test_a_member_that_was_alone_merges_with_the_others(
    cluster: LoadedCluster, fault: Fault
) -> None:
    *others, alone = cluster.members
    with cluster.load() as load:
        load.wait_answers(REQUESTS)
        with fault(cluster.network, alone.host):
            for other in others:
                cluster.wait_linked(other, alone, is_linked=False)
                cluster.wait_linked(alone, other, is_linked=False)
            since = time.monotonic()
            load.wait_answers(REQUESTS // 4, alone)
            until = time.monotonic()
        load.wait_answers(REQUESTS)
    cluster.check(load)
    assert all(load.writes(since, until, member) for member in cluster.members)


def test_two_halves_of_five_merge(possible: None) -> None:
    with LoadedCluster.made(5) as cluster:
        left, right = cluster.members[:2], cluster.members[2:]
        marks = [member.mark() for member in cluster.members]
        with cluster.load() as load:
            load.wait_answers(REQUESTS)
            with cluster.network.halves([m.host for m in left], [m.host for m in right]):
                wait_apart(left, right, marks)
                since = time.monotonic()
                load.wait_answers(REQUESTS)
                until = time.monotonic()
            load.wait_answers(REQUESTS)
        cluster.check(load)
        assert all(load.writes(since, until, member) for member in cluster.members)


def test_a_link_that_flaps(cluster: LoadedCluster) -> None:
    _, _, flapping = cluster.members
    with cluster.load() as load:
        for _ in range(FLAPS):
            with cluster.network.unplugged(flapping.host):
                load.wait_answers(REQUESTS // 4)
            load.wait_answers(REQUESTS // 4)
    cluster.check(load)


def test_a_network_that_loses_a_tenth(cluster: LoadedCluster) -> None:
    with cluster.load() as load, cluster.network.lossy(0.1):
        load.wait_answers(4 * REQUESTS)
    cluster.check(load)


@pytest.mark.parametrize("fault", [Network.unplugged, Network.without_interface])
def test_a_member_without_its_network_comes_back(cluster: LoadedCluster, fault: Fault) -> None:
    one, two, lost = cluster.members
    marks = [member.mark() for member in cluster.members]
    with cluster.load() as load:
        load.wait_answers(REQUESTS)
        with fault(cluster.network, lost.host):
            wait_apart([one, two], [lost], marks)
            load.wait_answers(REQUESTS)
        cluster.wait_linked(one, lost, is_linked=True)
        load.wait_answers(REQUESTS // 4, lost)
    cluster.check(load)
