"""
What a seed draws before it starts: which faults exist, how strong, how small every bound is.

A simulation in which everything always goes wrong a little never sees what happens when one thing
goes wrong often. So each seed leaves most faults out and makes the others strong.

Source: Groce et al., "Swarm Testing", 2012; TigerBeetle ``src/vopr.zig``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random

from replsession.config import KIB, Limits, NodeConfig, Timing
from replsession.session.expiry import SessionLimits
from tests.simulation.aging import FOR_EVER
from tests.simulation.scheduler import split

FAULTS = (
    "cut_pair",
    "cut_one_way",
    "isolate",
    "halves",
    "partial",
    "flap",
    "reset_links",
    "half_open",
    "pause",
    "crash",
    "crash_between_frames",
    "leave",
    "crash_donor",
    "crash_joiner",
    "join_together",
    "storm",
    "slow",
    "slow_member",
    "burst",
)
HINTS = ("multicast", "multicast", "both", "seeds", "one seed")
"""How members find each other. With one seed all know the first one only, who knows nobody."""
MORTAL_SHARE = 0.5
"""Of seeds whose sessions may end by themselves."""
INTERVALS_S = (4.0, 4.0, 8.0)
LIFETIMES_S = (10.0, 30.0)
DRIFTS = (0.0, 0.01, -0.01)
SKEWS_S = (0.0, 0.0, 0.6, -0.6, 3600.0, -3600.0)
SHORT_RETENTION_S = 16.0


@dataclass(frozen=True, slots=True)
class Weather:
    """How the network treats what it carries. Probabilities are for each datagram or frame."""

    delay_s: tuple[float, float] = (0.001, 0.02)
    datagram_loss: float = 0.0
    datagram_twice: float = 0.0
    frame_loss: float = 0.0
    frame_twice: float = 0.0
    frame_late: float = 0.0
    """Frames that later ones overtake."""

    @property
    def is_harsh(self) -> bool:
        """Whether links lose, repeat or reorder frames, as no TLS link does."""
        return self.frame_loss + self.frame_twice + self.frame_late > 0


@dataclass(frozen=True, slots=True)
class Swarm:
    """Everything that a seed decides beforehand."""

    seed: int
    members: int
    config: NodeConfig
    skews_s: tuple[float, ...]
    weather: Weather
    faults: tuple[str, ...]
    fault_every_s: float
    fault_lasts_s: tuple[float, float]
    operations: int
    operation_every_s: float
    sessions: int
    buckets: int
    large_share: float
    slow_share: float
    burst_size: int
    hints: str
    limits: tuple[SessionLimits, ...] = (FOR_EVER,)
    """What the sessions of this seed draw their limits from."""
    drifts: tuple[float, ...] = ()

    @property
    def is_mortal(self) -> bool:
        """Whether some sessions end by themselves."""
        return self.limits != (FOR_EVER,)

    @property
    def is_multicast(self) -> bool:
        """Whether heartbeats are carried."""
        return self.hints in ("multicast", "both")

    def seeds(self, names: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
        """Return for each member whose addresses it looks up."""
        if self.hints == "multicast":
            return {}
        known = names[:1] if self.hints == "one seed" else names
        return {name: () if known == (name,) else known for name in names}

    @property
    def is_long(self) -> bool:
        """Whether cuts may last longer than tombstones do."""
        return self.config.timing.tombstone_retention_s <= SHORT_RETENTION_S


def _limits(rng: Random) -> Limits:
    if rng.random() < 0.25:
        return Limits()
    return Limits(
        value_bytes_max=16 * KIB,
        frame_bytes_max=64 * KIB,
        chunk_bytes=rng.choice((100, 500, 4 * KIB)),
        piece_bytes=rng.choice((48, 200, 1000)),
        window_bytes=rng.choice((1, 300, 2000, 100_000)),
        outbox_deltas_max=rng.choice((2, 5, 20, 1000)),
        outbox_bytes_max=rng.choice((1500, 10_000, 1_000_000)),
        transfer_window_chunks=rng.choice((1, 2, 4)),
        transfers_at_once_max=rng.choice((1, 2)),
        repair_records_max=rng.choice((1, 5, 8000)),
        repair_digests_max=rng.choice((1, 4, 2000)),
        warm_records_max=rng.choice((1, 3, 10, 4096)),
        wanted_records_max=rng.choice((2, 10, 1000)),
        pieces_open_max=rng.choice((5, 256)),
    )


def _timing(rng: Random, is_long: bool) -> Timing:
    timing = Timing(access_interval_s=rng.choice((1.0, 300.0)))
    if is_long:
        return replace(timing, tombstone_retention_s=SHORT_RETENTION_S, tombstone_margin_s=7.0)
    return timing


def _weather(rng: Random) -> Weather:
    low = rng.choice((0.0005, 0.002, 0.02))
    weather = Weather(
        delay_s=(low, low * rng.choice((1.5, 5.0, 20.0))),
        datagram_loss=rng.choice((0.0, 0.1, 0.4)),
        datagram_twice=rng.choice((0.0, 0.2)),
    )
    if rng.random() < 0.3:
        return replace(
            weather,
            frame_loss=rng.choice((0.0, 0.003, 0.03)),
            frame_twice=rng.choice((0.0, 0.01, 0.1)),
            frame_late=rng.choice((0.0, 0.01, 0.1)),
        )
    return weather


def _faults(rng: Random, is_long: bool) -> tuple[str, ...]:
    chosen = [fault for fault in FAULTS if rng.random() < 0.4]
    if is_long:
        chosen += ["isolate", "cut_pair", "halves"]
    return tuple(chosen or [rng.choice(FAULTS)])


def _with_expiry(swarm: Swarm) -> Swarm:
    """Return the same seed with clocks that step and drift, and sessions that end, or without."""
    rng = split(swarm.seed, "expiry")
    faults = swarm.faults
    if rng.random() < 0.3:
        faults += ("clock_step",)
    drifts = tuple(rng.choice(DRIFTS) for _ in range(swarm.members))
    swarm = replace(swarm, faults=faults, drifts=drifts if rng.random() < 0.5 else ())
    if rng.random() >= MORTAL_SHARE:
        return swarm
    idle = SessionLimits(rng.choice(INTERVALS_S), None)
    choice: tuple[SessionLimits, ...] = rng.choice(
        ((idle,), (idle, FOR_EVER), (idle, FOR_EVER, idle._replace(lifetime_s=10.0)))
    )
    if rng.random() < 0.3:
        choice += (SessionLimits(None, rng.choice(LIFETIMES_S)),)
    limits = replace(
        swarm.config.limits,
        sleeping_bytes_max=rng.choice((200, 2000, Limits().sleeping_bytes_max)),
        expirations_max=rng.choice((1, 10_000)),
        given_up_max=rng.choice((1, 10_000)),
    )
    return replace(swarm, limits=choice, config=replace(swarm.config, limits=limits))


def draw(seed: int, members: int, operations: int = 400) -> Swarm:
    """Return what *seed* decides for so many members."""
    return _with_expiry(_draw(seed, members, operations))


def _draw(seed: int, members: int, operations: int) -> Swarm:
    rng = split(seed, "swarm")
    is_long = rng.random() < 0.25
    lasts_s = (17.0, 24.0) if is_long else rng.choice(((0.2, 2.0), (1.0, 8.0)))
    return Swarm(
        seed=seed,
        members=members,
        config=NodeConfig(_limits(rng), _timing(rng, is_long)),
        skews_s=tuple(rng.choice(SKEWS_S) for _ in range(members)),
        weather=_weather(rng),
        faults=_faults(rng, is_long),
        fault_every_s=rng.choice((1.5, 3.0)),
        fault_lasts_s=lasts_s,
        operations=operations,
        operation_every_s=rng.choice((0.04, 0.08)) if not is_long else 0.14,
        sessions=rng.choice((4, 12, 25)),
        buckets=rng.choice((1, 4, 16)),
        large_share=rng.choice((0.0, 0.1, 0.4)),
        slow_share=rng.choice((0.02, 0.1)),
        burst_size=rng.choice((10, 40)),
        hints=split(seed, "hints").choice(HINTS),
    )


def calm(seed: int, members: int, operations: int = 200) -> Swarm:
    """Return a run in which nothing goes wrong, but links are slow and windows small."""
    swarm = draw(seed, members, operations)
    rng = split(seed, "calm")
    low = rng.choice((0.02, 0.1))
    limits = replace(
        swarm.config.limits,
        window_bytes=rng.choice((1, 300, 2000)),
        chunk_bytes=4 * KIB,
        outbox_deltas_max=20_000,
        outbox_bytes_max=10_000_000,
    )
    return replace(
        swarm,
        config=replace(swarm.config, limits=limits),
        weather=Weather(delay_s=(low, low * 4)),
        faults=("burst",),
        operation_every_s=0.04,
        limits=(FOR_EVER,),
    )
