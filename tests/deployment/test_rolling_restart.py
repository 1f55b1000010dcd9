"""
Both members are restarted, one after the other, under load through a real balancer: nobody notices.

No request fails, no answer is stale, no write is lost. Browsers send a cookie or ``;jsessionid=``,
and two of them write to one session.

They keep their connections to the balancer, but for nginx: it has to read its files again, and
closes connections then that wait for a request. Who sends one at that very moment has to send it
again, as browsers do, and as these clients do not.
"""

from __future__ import annotations

import signal
from itertools import pairwise

import pytest

from tests.cluster.figures import lost_appends
from tests.cluster.history import History
from tests.cluster.loaded import Load, LoadedCluster
from tests.cluster.members import Member
from tests.cluster.processes import wait_until
from tests.deployment.page import edit
from tests.deployment.running import KINDS, Balancer, Kind, addresses_of, balancer, members, need

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240)]

REQUESTS = 300
"""Between two steps: about a second."""
MOVES = 0.1
"""Share of requests that another member answers than the one before: less with stickiness, and more
without, where it is half of them while both members serve."""


def restart(cluster: LoadedCluster, load: Load, through: Balancer) -> None:
    """Restart each member, the next one when the one before serves again."""
    for member in cluster.members:
        if not through.kind.asks:
            take_out(member, through)
        member.stop()
        member.start()
        member.wait_ready()
        if not through.kind.asks:
            take_in(member, through)
        load.wait_answers(REQUESTS // 10, member)
        load.wait_answers(REQUESTS)


def take_out(member: Member, nginx: Balancer) -> None:
    """Let nginx send nothing to a member, and finish what it has sent."""
    edit(nginx.folder, 0, member.name)
    reload(nginx)


def take_in(member: Member, nginx: Balancer) -> None:
    """Let nginx send requests to a member again."""
    edit(nginx.folder, 1, member.name)
    reload(nginx)


def reload(nginx: Balancer) -> None:
    """Let nginx read its files, and wait until no process works with the old ones."""
    before = set(nginx.process.left_behind())
    nginx.process.send_signal(signal.SIGHUP)
    wait_until(lambda: not before & set(nginx.process.left_behind()), "nginx works by the new file")


def failed(history: History) -> list[str]:
    """Return the requests that were not answered as they should be."""
    return [
        f"{o.kind} by {o.browser} at {o.member}: {o.status} {o.error}"
        for o in history.operations
        if o.status != 200 and not (o.status == 404 and o.asked in history.ends)
    ]


def longest_pause_s(history: History) -> float:
    """Return the longest time in which no request ended well."""
    ends = sorted(o.end for o in history.operations if o.status == 200)
    return max(after - before for before, after in pairwise(ends))


def moves(history: History) -> float:
    """Return the share of requests with cookies that another member answers than the one before."""
    found = [
        before.member != after.member
        for (browser, _), operations in history.by_browser.items()
        if int(browser) % 2 == 0
        for before, after in pairwise(operations)
    ]
    return sum(found) / len(found)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_no_request_fails_and_nothing_is_lost(kind: Kind) -> None:
    need(kind.program)
    with members() as cluster:
        net = cluster.network
        with balancer(kind, net.client, addresses_of(net)) as through:
            with cluster.load(in_url=True, closing=not kind.asks) as load:
                load.wait_answers(REQUESTS)
                restart(cluster, load, through)
            history = cluster.check(load)
            log = through.access_log
    wrong = failed(history)
    print(
        f"{kind}: {len(history.operations)} requests, {len(cluster.members)} restarts, "
        f"{len(wrong)} failed, longest pause {longest_pause_s(history):.3f} s, "
        f"{sum(o.stale for o in history.operations)} stale, {lost_appends(history)} lost, "
        f"{moves(history):.0%} of requests by another member than the one before"
    )
    assert wrong == []
    assert not any(o.stale for o in history.operations)
    assert lost_appends(history) == 0
    assert {member.name for member in cluster.members} <= {o.member for o in history.operations}
    assert (moves(history) < MOVES) is kind.is_sticky
    assert ";jsessionid=***" in log
    assert not [line for line in log.splitlines() if "jsessionid=A" in line]
