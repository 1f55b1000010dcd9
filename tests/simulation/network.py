"""
The network: heartbeats as datagrams, and links on which frames go both ways.

Rules of this file:

1. A link hands bytes over in order, cut anywhere. In harsh weather it hands over whole frames, and
   loses, repeats and reorders them, as no TLS link does.
2. What is cut is held back, as TCP holds it, and comes after the mending; so does a link's end.
3. The two ends learn of an opened and of a closed link at different times.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from replsession.identity import Address
from replsession.membership.membership import Dial
from tests.simulation.links import Chunk, End, Host, Input, chunk_of, parts
from tests.simulation.scheduler import Scheduler
from tests.simulation.swarm import Weather
from tests.simulation.telling import told
from tests.simulation.trace import Trace

CONNECT_TIMEOUT_S = 1.0
LATE_S = 0.5
EPHEMERAL_PORT = 49152


class Network:
    """All hosts, links and cuts."""

    def __init__(self, scheduler: Scheduler, rng: Random, weather: Weather, trace: Trace) -> None:
        self.scheduler = scheduler
        self.weather = weather
        self.trace = trace
        self.hosts: dict[str, Host] = {}
        """The running process of each host."""
        self.ends: dict[int, End] = {}
        self.datagrams_sent = 0
        self.frames_sent = 0
        self.slowest_s = 0.0
        """The longest that anything was on its way, but for cuts."""
        self.was_harsh = weather.is_harsh
        """Links lose, repeat or reorder frames, or did so."""
        self._rng = rng
        self.slowed: dict[str, float] = {}
        """Hosts whose frames take so many seconds longer."""
        self._cuts: dict[tuple[str, str], int] = {}
        self._mended_at: dict[tuple[str, str], float] = {}
        self._links = 0

    def multicast(self, source: Host, payload: bytes) -> None:
        """Send a datagram to every host, the sender's own too."""
        self.trace.carried(self.scheduler.now, payload)
        rng, weather, host = self._rng, self.weather, source.address.host
        for target in list(self.hosts.values()):
            for _ in range(1 + (rng.random() < weather.datagram_twice)):
                delay_s = self._delay()
                if rng.random() >= weather.datagram_loss and not self.is_cut(source, target):
                    self.datagrams_sent += 1
                    self._post(delay_s, target, _datagram(payload, host))

    def dial(self, source: Host, order: Dial) -> None:
        """Try to open a link."""
        self.scheduler.after(self._delay(), lambda: self._knock(source, order))

    def send(self, source: Host, frames: list[tuple[int, bytes]]) -> None:
        """Send frames, each on its link."""
        together: dict[int, list[bytes]] = {}
        for link, frame in frames:
            self.trace.carried(self.scheduler.now, frame)
            self.frames_sent += 1
            together.setdefault(link, []).append(frame)
        for link, batch in together.items():
            end = self.ends.get(link)
            if end is not None and not end.is_closed:
                assert end.host is source, "a frame on somebody else's link"
                self._send_on(end, batch)

    def close(self, link: int, reason: str) -> None:
        """One end closes a link; the other one notices after what was sent before."""
        end = self.ends.get(link)
        if end is not None and not end.is_closed:
            end.is_closed = True
            self._put(end, Chunk(b"", closes=f"closed by the other end ({reason})"))
            self._tidy(end)

    def reset(self, end: End, reason: str) -> None:
        """A link breaks: what is under way is lost, both ends notice some time later."""
        for side in (end, end.other):
            side.lose()
            self._put(side, Chunk(b"", closes=reason))

    def half_open(self, end: End, reason: str) -> None:
        """One end of a link is lost; the other one is told nothing, and what it sends is lost."""
        end.is_closed = True
        end.lose()
        end.host.post(lambda node, now: node.link_closed(end.id, reason, now))
        self._tidy(end)

    def vanish(self, host: Host) -> None:
        """A process died: what it had sent arrives, or not."""
        if self.hosts.get(host.address.host) is host:
            del self.hosts[host.address.host]
        for end in self.ends_of(host):
            end.is_closed = True
            if self._rng.random() < 0.5:
                end.lose()
            self._put(end, Chunk(b"", closes="connection reset"))
            self._tidy(end)

    def ends_of(self, host: Host) -> list[End]:
        """Return the open ends of links at one host, oldest first."""
        return [end for end in self.ends.values() if end.host is host and not end.is_closed]

    def cut(self, pairs: list[tuple[str, str]]) -> None:
        """Let nothing pass from the first to the second host of each pair."""
        for pair in pairs:
            self._cuts[pair] = self._cuts.get(pair, 0) + 1

    def mend(self, pairs: list[tuple[str, str]]) -> None:
        """Take back one cut of each pair; what was held back goes on."""
        for pair in pairs:
            self._cuts[pair] -= 1
            if not self._cuts[pair]:
                del self._cuts[pair]
                self._mended_at[pair] = self.scheduler.now
        for end in list(self.ends.values()):
            if end.held and not self.is_cut(end.host, end.other.host):
                self.scheduler.after(self._delay(), _later(self._release, end))

    def is_cut(self, source: Host, target: Host) -> bool:
        """Tell whether nothing passes from *source* to *target*."""
        return (source.address.host, target.address.host) in self._cuts

    def uncut_since(self, one: Host, other: Host) -> float:
        """Return since when nothing was cut between two hosts; now if something is."""
        if self.is_cut(one, other) or self.is_cut(other, one):
            return self.scheduler.now
        here, there = one.address.host, other.address.host
        ways = ((here, there), (there, here))
        return max(self._mended_at.get(way, 0.0) for way in ways)

    def _delay(self) -> float:
        low, high = self.weather.delay_s
        delay_s = low + (high - low) * self._rng.random() ** 2
        self.slowest_s = max(self.slowest_s, delay_s)
        return delay_s

    def _post(self, delay_s: float, target: Host, call: Input) -> None:
        self.scheduler.after(delay_s, lambda: target.post(call))

    def _knock(self, source: Host, order: Dial) -> None:
        target = self.hosts.get(order.address.host)
        if target is not None and (self.is_cut(source, target) or self.is_cut(target, source)):
            self._fail(source, order, CONNECT_TIMEOUT_S, "timed out")
        elif target is None or target.address != order.address:
            self._fail(source, order, self._delay(), "connection refused")
        elif target.is_paused:
            self._fail(source, order, CONNECT_TIMEOUT_S, "timed out")
        elif source.is_alive:
            self._open(source, target, order)

    def _fail(self, source: Host, order: Dial, delay_s: float, reason: str) -> None:
        self.trace.detail(self.scheduler.now, source.name, f"dial {order.address}: {reason}")
        refused = reason == "connection refused"
        self._post(
            delay_s,
            source,
            lambda node, now: node.dial_failed(order.dial, reason, now, refused=refused),
        )

    def _open(self, source: Host, target: Host, order: Dial) -> None:
        self._links += 2
        near, far = End(self._links, source), End(self._links + 1, target)
        near.other, far.other = far, near
        self.ends[near.id], self.ends[far.id] = near, far
        what = f"link {near.id} to {target.name}, there link {far.id}"
        self.trace.line(self.scheduler.now, source.name, what)
        back = Address(source.address.host, EPHEMERAL_PORT + near.id % 16384)
        self._opened(near, order.address, order.dial)
        self._opened(far, back, None)

    def _opened(self, end: End, address: Address, dial: int | None) -> None:
        delay_s = self._delay()
        # Nothing may arrive at an end before it knows of the link.
        end.other.opened_at = end.other.free_at = self.scheduler.now + delay_s
        certified = end.other.host.node.me.id
        self._post(
            delay_s,
            end.host,
            lambda node, now: node.link_opened(end.id, address, certified, dial, now),
        )

    def _send_on(self, end: End, frames: list[bytes]) -> None:
        for chunk in self._chunks(end, frames):
            for message in chunk.messages:
                what = f"link {end.id} to {end.other.host.name}: {told(message)}"
                self.trace.detail(self.scheduler.now, end.host.name, what)
            if self.weather.is_harsh:
                self._send_harshly(end, chunk)
            else:
                for part in parts(chunk, self._rng):
                    self._put(end, part)

    def _chunks(self, end: End, frames: list[bytes]) -> list[Chunk]:
        everything = self.trace.is_shown
        if self.weather.is_harsh:
            return [chunk_of(end, [frame], everything) for frame in frames]
        return [chunk_of(end, frames, everything)]

    def _send_harshly(self, end: End, chunk: Chunk) -> None:
        rng, weather = self._rng, self.weather
        if rng.random() < weather.frame_loss:
            self.trace.line(self.scheduler.now, end.host.name, f"loses a frame on link {end.id}")
            return
        for _ in range(1 + (rng.random() < weather.frame_twice)):
            if rng.random() < weather.frame_late:
                at = self.scheduler.now + LATE_S * rng.random()
                self._plan(end, chunk, max(at, end.opened_at))
            else:
                self._put(end, chunk)

    def _put(self, end: End, chunk: Chunk) -> None:
        delay_s = self._delay() + self.slowed.get(end.host.address.host, 0.0)
        end.free_at = max(self.scheduler.now + delay_s, end.free_at)
        self._plan(end, chunk, end.free_at)

    def _plan(self, end: End, chunk: Chunk, at: float) -> None:
        epoch = end.epoch
        self.scheduler.at(at, lambda: self._arrive(end, chunk, epoch))

    def _arrive(self, end: End, chunk: Chunk, epoch: int) -> None:
        if epoch != end.epoch:
            return
        if end.held or self.is_cut(end.host, end.other.host):
            end.held.append(chunk)
        else:
            self._hand(end, chunk)

    def _release(self, end: End) -> None:
        if not self.is_cut(end.host, end.other.host):
            held, end.held = end.held, []
            for chunk in held:
                self._hand(end, chunk)

    def _hand(self, end: End, chunk: Chunk) -> None:
        target = end.other
        if target.is_closed:
            return
        if chunk.closes is None:
            target.host.received(target, chunk)
        else:
            target.is_closed = True
            reason = chunk.closes
            target.host.post(lambda node, now: node.link_closed(target.id, reason, now))
            self._tidy(target)

    def _tidy(self, end: End) -> None:
        if end.is_closed and end.other.is_closed:
            self.ends.pop(end.id, None)
            self.ends.pop(end.other.id, None)


def _datagram(payload: bytes, host: str) -> Input:
    return lambda node, now: node.datagram_received(payload, host, now)


def _later(call: Callable[[End], None], end: End) -> Callable[[], None]:
    return lambda: call(end)
