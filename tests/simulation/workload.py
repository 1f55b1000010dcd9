"""
The workload: browsers that send requests to any member, on sessions that they share.

A request opens its session, thinks for a while, and commits what it changed, as the web rooms do. A
slow one may read before an invalidation and commit long after it. Where sessions end by themselves,
browsers go away for a while, too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from replsession.identity import LOCATOR_BYTES, SECRET_HASH_BYTES, Key
from replsession.session.change import Change
from replsession.session.codec import encode
from replsession.session.expiry import SessionLimits, encoded_limits
from replsession.session.principals import epochs_key
from replsession.session.record import INTERVAL, PRINCIPAL, SECRET
from tests.simulation import telling
from tests.simulation.aging import FOR_EVER
from tests.simulation.cluster import Cluster
from tests.simulation.oracle import greatest_in
from tests.simulation.process import Process
from tests.simulation.scheduler import split
from tests.simulation.swarm import Swarm

NAMES = ("cart", "user", "counter", "theme", "a", "b", "ü", "")
PRINCIPALS = tuple(f"user-{number}" for number in range(6))
CONTEXTS = ("/", "/", "/shop")
AWAY_SHARE = 0.12
AWAY = (0.5, 0.8, 0.97, 1.05, 1.5, 3.0)
"""For how long a browser goes away, in intervals of its session."""
KEEP_EVERY_S = 1.0


@dataclass(slots=True)
class Browser:
    """One session, as those who use it know it."""

    key: Key
    limits: SessionLimits = FOR_EVER
    ended: bool = False
    back_at: float = 0.0
    """Until then it asks for nothing."""


@dataclass(slots=True)
class Workload:
    """Requests, one after another or at once, until enough were made."""

    cluster: Cluster
    swarm: Swarm
    operations: int = 0
    """Requests that reached a member."""
    browsers: list[Browser] = field(default_factory=list)
    is_over: bool = False
    pending: int = 0
    """Requests that have read and not yet committed."""
    kept: list[Browser] = field(default_factory=list)
    """Those that go on after the healing, so that their sessions must live on."""
    rng: Random = field(init=False)
    prefixes: list[int] = field(init=False)
    """First bytes of locators, so that several sessions share a bucket."""

    def __post_init__(self) -> None:
        self.rng = split(self.swarm.seed, "workload")
        self.prefixes = [self.rng.randrange(256) for _ in range(self.swarm.buckets)]

    def start(self) -> None:
        """Begin to make requests."""
        self.cluster.scheduler.after(0.0, self._turn)

    def burst(self) -> None:
        """Make many requests at one member in one turn of its loop."""
        process = self._process()
        if process is None:
            return
        process.post(lambda node, now: self._burst_at(process))

    def keep(self) -> None:
        """Begin to touch half of the sessions that would be over soon, again and again."""
        mortal = [b for b in self.browsers if not b.ended and self._interval_s(b) is not None]
        self.kept = [browser for browser in mortal if self.rng.random() < 0.5]
        self._keep_on()
        # The others are over already.
        ages, now = self.cluster.ages.of, self.cluster.now
        self.kept = [browser for browser in self.kept if ages[browser.key].touched_at == now]

    def _keep_on(self) -> None:
        if not self.kept:
            return
        self.cluster.scheduler.after(KEEP_EVERY_S, self._keep_on)
        for browser in self.kept:
            some = [process for process in self.cluster.live() if not process.is_paused]
            self.rng.shuffle(some)
            # Until the members agree, one may find it and another not.
            self._touch_at_one(browser, some)

    def _touch_at_one(self, browser: Browser, processes: list[Process]) -> None:
        found: list[bool] = []
        for process in processes:
            process.post(
                lambda node, now, process=process: found.append(  # type: ignore[misc]
                    process.open(browser.key) is not None
                )
            )
            if any(found):
                return

    def _interval_s(self, browser: Browser) -> float | None:
        """Return the idle interval of a session that nothing else ends."""
        idle_s, lifetime_s, _ = browser.limits
        return idle_s if lifetime_s is None else None

    def _has_ended(self, browser: Browser) -> bool:
        age = self.cluster.ages.of.get(browser.key)
        return browser.ended or (age is not None and age.is_over(self.cluster.now, slack_s=2.0))

    def _may_go_away(self, browser: Browser) -> None:
        interval_s = browser.limits.idle_s
        if interval_s is not None and self.rng.random() < AWAY_SHARE:
            browser.back_at = self.cluster.now + interval_s * self.rng.choice(AWAY)

    def read_somewhere(self) -> None:
        """Read one session, and change nothing."""
        process = self._process()
        if process is not None and self.browsers:
            key = self.rng.choice(self.browsers).key
            process.post(lambda node, now: self._read(process, key))

    def _burst_at(self, process: Process) -> None:
        some = [self.rng.choice(self.browsers) for _ in range(2)] if self.browsers else []
        for _ in range(self.swarm.burst_size):
            if not some or self.rng.random() < 0.1:
                self._create(process)
            else:
                self._change(process, self.rng.choice(some).key, 0.0)

    def _turn(self) -> None:
        if self.is_over:
            return
        delay_s = self.rng.expovariate(1.0 / self.swarm.operation_every_s)
        self.cluster.scheduler.after(delay_s, self._turn)
        process = self._process()
        if process is not None:
            self._request(process)

    def _process(self) -> Process | None:
        fit = [process for process in self.cluster.live() if not process.is_paused]
        ready = [process for process in fit if process.node.is_ready]
        # Now and then a balancer asks a member that has just started.
        some = fit if self.rng.random() < 0.05 else ready
        return self.rng.choice(some) if some else None

    def in_use(self) -> list[Key]:
        """Return the sessions whose browsers ask for something now."""
        now = self.cluster.now
        return [b.key for b in self.browsers if b.back_at <= now and not self._has_ended(b)]

    def _request(self, process: Process) -> None:
        rng = self.rng
        now = self.cluster.now
        alive = [browser for browser in self.browsers if not self._has_ended(browser)]
        here = [browser for browser in alive if browser.back_at <= now]
        if len(alive) < self.swarm.sessions and rng.random() < 0.3:
            process.post(lambda node, now: self._create(process))
            return
        if not self.browsers:
            return
        ended = rng.random() < 0.1 or not here
        browser = rng.choice(self.browsers[-20:] if ended else here)
        self._may_go_away(browser)
        choose: tuple[tuple[float, Callable[[], None]], ...] = (
            (0.25, lambda: self._read(process, browser.key)),
            (0.48, lambda: self._change(process, browser.key, self._think_s())),
            (0.06, lambda: self._rotate(process, browser.key)),
            (0.05, lambda: self._log_in(process, browser.key)),
            (0.02, lambda: self._end_all(process)),
            (0.10, lambda: self._twice(process, browser.key)),
            (0.04, lambda: self._invalidate(process, browser)),
        )
        drawn = rng.random()
        for share, call in choose:
            drawn -= share
            if drawn < 0:
                process.post(lambda node, now, call=call: call())  # type: ignore[misc]
                return

    def _think_s(self) -> float:
        if self.rng.random() < self.swarm.slow_share:
            return self.rng.uniform(1.0, 20.0)
        return self.rng.choice((0.0, 0.005, 0.1))

    def _create(self, process: Process) -> None:
        rng = self.rng
        locator = bytes((rng.choice(self.prefixes),)) + rng.randbytes(LOCATOR_BYTES - 1)
        key = Key(rng.choice(CONTEXTS), locator)
        writes = self._writes()
        writes[SECRET] = rng.randbytes(SECRET_HASH_BYTES)
        limits = rng.choice(self.swarm.limits) if self.swarm.is_mortal else FOR_EVER
        writes[INTERVAL] = encoded_limits(limits)
        self._done(process, "creates", key, writes)
        process.commit(Change(key, writes, birth=True))
        self.browsers.append(Browser(key, limits))

    def _read(self, process: Process, key: Key) -> None:
        self._done(process, "reads", key)
        process.open(key)

    def _change(self, process: Process, key: Key, think_s: float) -> None:
        record = process.open(key)
        if record is None:
            self._done(process, "finds nothing", key)
            return
        self._later(process, key, self._writes(), greatest_in(record), think_s)

    def _rotate(self, process: Process, key: Key) -> None:
        record = process.open(key)
        if record is not None:
            writes: dict[str, bytes | None] = {SECRET: self.rng.randbytes(SECRET_HASH_BYTES)}
            self._later(process, key, writes, greatest_in(record), 0.0)

    def _log_in(self, process: Process, key: Key) -> None:
        record = process.open(key)
        if record is not None:
            secret = self.rng.randbytes(SECRET_HASH_BYTES)
            name = self.rng.choice(PRINCIPALS)
            writes: dict[str, bytes | None] = {SECRET: secret, PRINCIPAL: encode("", name)}
            self._later(process, key, writes, greatest_in(record), self._think_s())

    def _end_all(self, process: Process) -> None:
        context, name = self.rng.choice(CONTEXTS), self.rng.choice(PRINCIPALS)
        place = epochs_key(context, name)
        self._done(process, f"ends all of {name} in", place)
        process.end_all(place, name)

    def _twice(self, process: Process, key: Key) -> None:
        self._change(process, key, self._think_s())
        other = self._process()
        if other is not None and other is not process:
            other.post(lambda node, now: self._change(other, key, self._think_s()))

    def _invalidate(self, process: Process, browser: Browser) -> None:
        record = process.open(browser.key)
        if record is not None:
            self._done(process, "invalidates", browser.key)
            process.commit(Change(browser.key, {}, destroy=True), greatest_in(record))
            browser.ended = True

    def _later(
        self,
        process: Process,
        key: Key,
        writes: dict[str, bytes | None],
        read: int,
        think_s: float,
    ) -> None:
        def commit() -> None:
            names = ",".join(name.replace("\0", "^") for name in writes)
            self._done(process, f"writes [{names}]", key)
            process.commit(Change(key, writes), read)

        if think_s == 0.0:
            commit()
        else:
            self.pending += 1
            self.cluster.scheduler.after(think_s, lambda: self._finish(process, commit))

    def _finish(self, process: Process, commit: Callable[[], None]) -> None:
        self.pending -= 1
        process.post(lambda node, now: commit())

    def _writes(self) -> dict[str, bytes | None]:
        rng = self.rng
        names = rng.sample(NAMES, rng.choice((1, 1, 2, 3)))
        return {name: self._value() for name in names}

    def _value(self) -> bytes | None:
        rng = self.rng
        if rng.random() < 0.12:
            return None
        if rng.random() < self.swarm.large_share:
            return rng.randbytes(rng.choice((100, 400, 1500)))
        return rng.randbytes(6)

    def _done(
        self,
        process: Process,
        what: str,
        key: Key,
        writes: dict[str, bytes | None] | None = None,
    ) -> None:
        self.operations += 1
        named = "" if writes is None else f" {len(writes)} attributes"
        trace = self.cluster.trace
        trace.line(self.cluster.now, process.name, f"{what} {telling.key(key)}{named}")
