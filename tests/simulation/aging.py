"""
Aging: what is true of accesses, and the checkers of expiry.

The simulation knows when each access was made, in virtual time, however wrong the clocks and the
estimates of the members are. So it can say of every member whether a session is over there too
early, too late, or again and again. Sessions without limits are never looked at.

* EARLY: a session touched within its interval is not over on a member that heard of it.
* EXPIRED: one that is over everywhere is served by nobody.
* FLAP: one that was reaped does not come back by itself.
* LEAK: what sleeps goes when everybody has told its news.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from replsession.config import Timing
from replsession.identity import Key, MemberId
from replsession.messages import Access
from replsession.session.delta import Delta
from replsession.session.expiry import SessionLimits, announce_every
from replsession.session.record import Record
from replsession.session.stamp import Stamp
from tests.simulation import telling
from tests.simulation.checkers import Copy, Failure, is_served

if TYPE_CHECKING:
    from tests.simulation.cluster import Cluster
    from tests.simulation.process import Process

DRIFT = 0.011
"""By how much a member's seconds may differ from the true ones, as a share; with a margin."""
RESOLUTION_S = 0.12
"""Accesses within so long are one; and timers are late by a little."""
HANDSHAKE_S = 1.0
TOUCHES_MAX = 200
FOR_EVER = SessionLimits(None, None)


@dataclass(slots=True)
class Age:
    """One session that may end by itself. Times are virtual."""

    limits: SessionLimits
    born_at: float
    touched_at: float
    """When it was accessed last, anywhere."""
    late_s: float = 0.0
    """By how much at most news of its birth or of an access looked later than they were, because
    a link or a member held them back."""
    touches: dict[MemberId, list[float]] = field(default_factory=dict)
    """When each process touched it, the last times."""

    def is_over(self, now: float, *, slack_s: float) -> bool:
        """Tell whether it is over for everybody, whatever a member knows of it."""
        idle_s, lifetime_s, _ = self.limits
        slack_s += self.late_s + RESOLUTION_S
        return (idle_s is not None and now - self.touched_at >= idle_s * (1 + DRIFT) + slack_s) or (
            lifetime_s is not None and now - self.born_at >= lifetime_s * (1 + DRIFT) + slack_s
        )


class Ages:
    """The ages of all sessions that have limits."""

    def __init__(self, timing: Timing) -> None:
        self.timing = timing
        self.of: dict[Key, Age] = {}
        self._made_at: dict[Stamp, float] = {}

    def born(self, key: Key, limits: SessionLimits, now: float) -> None:
        """A session was created."""
        if limits != FOR_EVER:
            self.of[key] = Age(limits, now, now)

    def touched(self, member: MemberId, record: Record, now: float) -> None:
        """A request read the session, or wrote to it."""
        age = self.of.get(record.key)
        if age is not None:
            age.touched_at = now
            touches = age.touches.setdefault(member, [])
            touches.append(now)
            del touches[:-TOUCHES_MAX]
            self._made_at.setdefault(record.access, now)

    def came(self, news: Delta | Access, now: float) -> None:
        """News of a session came to a member: how much later do they look than they are?"""
        age = self.of.get(news.key)
        made_at = self._made_at.get(news.access)
        if age is not None and made_at is not None:
            age.late_s = max(age.late_s, now - news.idle_s - made_at)
        if age is not None and isinstance(news, Delta) and news.destroyed is None:
            age.late_s = max(age.late_s, now - news.age_s - age.born_at)


def _fail(checker: str, who: Process, key: Key, what: str) -> Failure:
    return Failure(checker, f"{who.name}: session {telling.key(key)}: {what}")


def heard_since(cluster: Cluster, here: Process, there: Process, since: float) -> bool:
    """
    Tell whether all that *there* had to say since then came here, but for what is on its way.

    It did if one link between the two was up all the time, nothing was cut, neither hung, and
    nothing waited in, or was thrown out of, the outbox. Where links lose frames, nobody knows.
    """
    if here is there:
        return True
    network, since = cluster.network, since - HANDSHAKE_S
    link = here.node.membership.link_of.get(there.node.me.id)
    end = None if link is None else network.ends.get(link)
    peer = there.node.peers.get(here.node.me.id)
    if end is None or peer is None or end.other.id != peer.link or network.was_harsh:
        return False
    return (
        max(end.opened_at, end.other.opened_at) <= since
        and not (end.is_closed or end.other.is_closed or end.epoch or end.other.epoch)
        and network.uncut_since(here, there) <= since
        and max(here.undisturbed_since, there.undisturbed_since) <= since
        and not (there.is_paused or len(peer.outbox) or peer.outbox.in_flight)
    )


def early(cluster: Cluster, who: Process, key: Key) -> None:
    """
    EARLY: a session touched within its interval is not over on a member that heard of it.

    An access is told in a batch a moment later, and only once in a tenth of the interval: so long
    nobody else hears of it, and the session may be over here too early by that tenth. Who looks
    must ask the others then. A touch by a member that crashed, or was cut off since, is not heard
    of at all.
    """
    age, story = cluster.ages.of.get(key), cluster.oracle.stories.get(key)
    if age is None or story is None or story.ends or story.buried:
        return
    now, timing = cluster.now, cluster.config.timing
    idle_s, lifetime_s, _ = age.limits
    if lifetime_s is not None and now - age.born_at >= lifetime_s * (1 - DRIFT) - RESOLUTION_S:
        return
    if idle_s is None:
        return
    tenth_s = announce_every(age.limits, timing)
    for other in cluster.live():
        on_its_way_s = timing.access_batch_s + cluster.network.slowest_s + RESOLUTION_S
        untold_s = tenth_s
        if other is who:
            on_its_way_s = untold_s = 0.0
        touches = age.touches.get(other.node.me.id, [])
        touched_at = next((at for at in reversed(touches) if at <= now - on_its_way_s), None)
        if touched_at is None:
            continue
        if now - touched_at >= idle_s * (1 - DRIFT) - RESOLUTION_S - untold_s:
            continue
        if heard_since(cluster, who, other, touched_at - on_its_way_s - untold_s):
            what = f"over {now - touched_at:.2f} s after {other.name} touched it"
            raise _fail("EARLY", who, key, what)


def prolonged(cluster: Cluster, who: Process, key: Key) -> None:
    """
    EXPIRED: a request is not served by a session that is over everywhere.

    A member's estimate of an access may be late by as much as the news were.
    """
    age = cluster.ages.of.get(key)
    if age is not None and age.is_over(cluster.now, slack_s=0.0):
        what = f"served {cluster.now - age.touched_at:.2f} s after it was touched last"
        raise _fail("EXPIRED", who, key, what)


def expired(cluster: Cluster, copies: Sequence[Copy], sweep_s: float) -> None:
    """EXPIRED: a session idle longer than interval and grace everywhere is awake nowhere."""
    timing = cluster.config.timing
    for key, age in cluster.ages.of.items():
        grace_s = timing.expiry_grace_s + announce_every(age.limits, timing) + sweep_s
        if not age.is_over(cluster.now, slack_s=grace_s):
            continue
        for copy in copies:
            if key in copy.served:
                what = f"session {telling.key(key)}: awake, and over everywhere"
                raise Failure("EXPIRED", f"{copy.name}: {what}")


def sleeping(copies: Sequence[Copy]) -> None:
    """LEAK: once all have told their news since it fell asleep, nothing sleeps any more."""
    for copy in copies:
        for key, record in copy.records.items():
            if record.asleep:
                raise Failure("LEAK", f"{copy.name}: session {telling.key(key)}: still asleep")


@dataclass(slots=True)
class Watch:
    """What one process has asleep, to see what falls asleep and what wakes."""

    asleep: dict[Key, None] = field(default_factory=dict)
    slept: dict[Key, None] = field(default_factory=dict)
    """Awake again, or gone."""

    def look(self, cluster: Cluster, who: Process, touched: Sequence[Key]) -> None:
        """The process has done something: look at what fell asleep, and at what woke."""
        ages, store = cluster.ages.of, who.node.store
        woken = [key for key in self.asleep if key not in store.sleepers]
        for key in woken:
            self.dropped(key)
        for key in store.sleepers.since:
            if key in ages and key not in self.asleep:
                self._fell_asleep(cluster, who, key)
        for key in (*woken, *touched):
            record = store.peek(key) if key in self.slept else None
            if record is not None and is_served(record):
                del self.slept[key]
                self._woke(cluster, who, key)

    def dropped(self, key: Key) -> None:
        """The process does not have it asleep any more."""
        self.asleep.pop(key, None)
        self.slept[key] = None

    def _fell_asleep(self, cluster: Cluster, who: Process, key: Key) -> None:
        self.asleep[key] = None
        self.slept.pop(key, None)
        if who.node.is_ready:
            early(cluster, who, key)

    def _woke(self, cluster: Cluster, who: Process, key: Key) -> None:
        """
        FLAP: what was reaped comes back only by an access within the interval.

        News of one may have been held back on their way, and look so much fresher.
        """
        age = cluster.ages.of[key]
        if age.is_over(cluster.now, slack_s=0.0):
            what = f"back {cluster.now - age.touched_at:.2f} s after it was touched last"
            raise _fail("FLAP", who, key, what)


def hear_of_sleep(cluster: Cluster, who: Process, watch: Watch) -> None:
    """Tell the oracle of sessions that a member puts to sleep, or drops asleep."""
    store, me, oracle = who.node.store, who.node.me.id, cluster.oracle
    to_sleep, drop = store.put_to_sleep, store._drop_sleeping

    def asleep(key: Key, now: float, settled_at: float) -> Record:
        oracle.slept(me, key)
        return to_sleep(key, now, settled_at)

    def dropped(key: Key, settled_at: float) -> Record:
        record = drop(key, settled_at)
        watch.dropped(key)
        oracle.dropped(me, key)
        if record.unshared:
            oracle.stories[key].unshared.update(who.writers)
        return record

    store.put_to_sleep = asleep  # type: ignore[method-assign]
    store._drop_sleeping = dropped  # type: ignore[method-assign]
