"""The checkers of expiry by themselves: what they take, and what they find."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from replsession.config import Timing
from replsession.identity import Key
from replsession.messages import Access
from replsession.replication.pieces import whole
from replsession.session.expiry import SessionLimits
from replsession.session.record import Record
from replsession.session.stamp import Stamp
from tests.simulation import aging
from tests.simulation.aging import FOR_EVER, Age, Ages
from tests.simulation.checkers import NAMES, Copy, Failure
from tests.simulation.cluster import Cluster
from tests.simulation.process import Process
from tests.simulation.stories import cluster_of, create_idle, members, values

pytestmark = pytest.mark.simulation

KEY = Key("/", b"k" * 12)
ME = b"m" * 8
IDLE = SessionLimits(10.0, None)
LIFETIME = SessionLimits(None, 20.0)


def fails(checker: str, call: Callable[[], Any]) -> None:
    """Assert that this checker finds something."""
    with pytest.raises(Failure) as caught:
        call()
    assert caught.value.checker == checker
    assert checker in NAMES


def record_of(access: Stamp) -> Record:
    """A record that was accessed so."""
    record = Record(KEY, Stamp(1, ME), 0.0, access, 0.0)
    record.complete = True
    return record


@pytest.mark.parametrize(
    ("limits", "now", "is_over"),
    [
        (IDLE, 109.9, False),
        (IDLE, 110.5, True),
        (LIFETIME, 69.9, False),
        (LIFETIME, 70.5, True),
        (SessionLimits(10.0, 20.0), 70.5, True),
        (FOR_EVER, 1e9, False),
    ],
)
def test_when_a_session_is_over_for_all(limits: SessionLimits, now: float, is_over: bool) -> None:
    age = Age(limits, born_at=50.0, touched_at=100.0)

    assert age.is_over(now, slack_s=0.0) is is_over
    assert not age.is_over(now, slack_s=1.0) or limits.lifetime_s is not None or now > 111
    age.late_s = 1.0
    assert not age.is_over(now, slack_s=0.0)


def test_news_that_were_held_back_look_late() -> None:
    ages = Ages(Timing())
    ages.born(KEY, IDLE, 50.0)
    ages.born(Key("/", b"x" * 12), FOR_EVER, 50.0)
    ages.touched(ME, record_of(Stamp(7, ME)), 60.0)
    age = ages.of[KEY]
    assert list(ages.of) == [KEY]
    assert (age.born_at, age.touched_at, age.late_s) == (50.0, 60.0, 0.0)

    ages.came(Access(KEY, Stamp(7, ME), 4.9), 65.0)
    assert age.late_s == pytest.approx(0.1)
    ages.came(Access(KEY, Stamp(8, ME), 0.0), 70.0)
    assert age.late_s == pytest.approx(0.1)
    delta = whole(record_of(Stamp(7, ME)), 0.0)
    ages.came(delta._replace(idle_s=10.0, age_s=17.0), 70.0)
    assert age.late_s == pytest.approx(3.0)


def served(cluster: Cluster) -> tuple[Process, Process, Key]:
    """Two members with a session, which was touched at the first one just now."""
    a, b = members(cluster)
    key = create_idle(a, 10.0)
    cluster.run(12.0 - 4.0)
    assert values(a, key) is not None
    a.carry()
    cluster.run(3.0)
    return a, b, key


def test_early() -> None:
    cluster = cluster_of("ab")
    a, b, key = served(cluster)
    fails("EARLY", lambda: aging.early(cluster, a, key))
    fails("EARLY", lambda: aging.early(cluster, b, key))
    cluster.run(6.5)
    aging.early(cluster, b, key)
    cluster.run(0.5)
    aging.early(cluster, a, key)


def test_early_is_nothing_that_was_not_heard_of() -> None:
    cluster = cluster_of("ab")
    _, b, key = served(cluster)
    assert values(members(cluster)[0], key) is not None
    pairs = cluster.pairs(["a"], ["b"])
    cluster.network.cut(pairs)
    aging.early(cluster, b, key)
    cluster.network.mend(pairs)
    aging.early(cluster, b, key)
    cluster.crash("a")
    aging.early(cluster, b, key)


@pytest.mark.parametrize("what", ["end", "lifetime", "no limits"])
def test_early_is_nothing_that_ends_otherwise(what: str) -> None:
    cluster = cluster_of("ab")
    _, b, key = served(cluster)
    if what == "end":
        cluster.oracle.ended(key, Stamp(1, ME))
    elif what == "lifetime":
        cluster.ages.of[key].limits = SessionLimits(10.0, 5.0)
    else:
        del cluster.ages.of[key]
    aging.early(cluster, b, key)


@pytest.mark.parametrize("what", ["hung", "restarted", "overflowed", "harsh"])
def test_who_was_disturbed_has_not_heard_everything(what: str) -> None:
    cluster = cluster_of("ab")
    a, b, _ = served(cluster)
    since = cluster.now - 2.0
    assert aging.heard_since(cluster, b, a, since)
    assert aging.heard_since(cluster, a, a, since)
    if what == "hung":
        cluster.pause("a")
        cluster.resume("a")
    elif what == "restarted":
        cluster.crash("a")
        a = cluster.start("a")
        cluster.run(1.5)
    elif what == "overflowed":
        a.undisturbed_since = cluster.now
    else:
        cluster.network.was_harsh = True
    assert not aging.heard_since(cluster, b, a, since)


def test_prolonged() -> None:
    cluster = cluster_of("ab")
    a, _, key = served(cluster)
    aging.prolonged(cluster, a, key)
    cluster.run(7.5)
    fails("EXPIRED", lambda: aging.prolonged(cluster, a, key))


def test_expired() -> None:
    cluster = cluster_of("ab")
    _, _, key = served(cluster)
    record = record_of(Stamp(1, ME))
    copy = Copy("a", members(cluster)[0].node, {key: record})
    cluster.run(10.0)
    aging.expired(cluster, [copy], 6.0)
    cluster.run(10.0)
    fails("EXPIRED", lambda: aging.expired(cluster, [copy], 6.0))
    record.asleep = True
    aging.expired(cluster, [copy], 6.0)


def test_sleeping() -> None:
    cluster = cluster_of("ab")
    record = record_of(Stamp(1, ME))
    copy = Copy("a", members(cluster)[0].node, {KEY: record})
    aging.sleeping([copy])
    record.asleep = True
    fails("LEAK", lambda: aging.sleeping([copy]))


@pytest.mark.parametrize(("later_s", "flaps"), [(9.5, False), (10.5, True)])
def test_flap(later_s: float, flaps: bool) -> None:
    cluster = cluster_of("ab")
    a, _ = members(cluster)
    key = create_idle(a, 10.0)
    cluster.run(1.0)
    cluster.ages.of[key].touches.clear()
    a.node.store.put_to_sleep(key, a.now, 0.0)
    a.post(lambda node, now: None)
    assert list(a._watch.asleep) == [key]
    cluster.ages.of[key] = replace(cluster.ages.of[key], touched_at=cluster.now - later_s)
    record = a.node.store.get(key)
    assert record is not None
    a.node.store.wake(record, a.now)
    if flaps:
        fails("FLAP", lambda: a.post(lambda node, now: None))
    else:
        a.post(lambda node, now: None)
    assert list(a._watch.asleep) == []
