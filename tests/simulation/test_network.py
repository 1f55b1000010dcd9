"""The network itself: what it promises to the nodes, and what it may do to them."""

from __future__ import annotations

from random import Random

import pytest

from replsession.identity import Address
from replsession.messages import Acknowledge, Ping
from replsession.node import Node
from replsession.wire import encoding
from tests.simulation.links import Chunk, End, Input, chunk_of, parts
from tests.simulation.network import Network
from tests.simulation.scheduler import Scheduler, split
from tests.simulation.swarm import Weather
from tests.simulation.trace import Trace

pytestmark = pytest.mark.simulation


class Ear:
    """A host that only notes what arrives."""

    node: Node

    def __init__(self, name: str, number: int) -> None:
        self.name = name
        self.address = Address(f"10.0.0.{number}", 4000)
        self.is_alive = True
        self.is_paused = False
        self.bytes = b""
        self.posted: list[Input] = []

    def post(self, call: Input) -> None:
        """Note that something came."""
        self.posted.append(call)

    def received(self, end: End, chunk: Chunk) -> None:
        """Note bytes."""
        self.bytes += chunk.data


def linked(weather: Weather) -> tuple[Network, End, Ear]:
    """Return a network with one link, the end to send from, and the host at the other one."""
    network = Network(Scheduler(), Random(1), weather, Trace())
    here, there = Ear("a", 1), Ear("b", 2)
    near, far = End(2, here), End(3, there)
    near.other, far.other = far, near
    network.ends = {2: near, 3: far}
    network.hosts = {here.address.host: here, there.address.host: there}
    return network, near, there


def frames(count: int) -> list[bytes]:
    """Return frames that differ."""
    return [encoding.encode(Acknowledge(number)) for number in range(1000, 1000 + count)]


def test_link_keeps_the_order_of_bytes() -> None:
    network, near, there = linked(Weather(delay_s=(0.0, 1.0)))
    sent = frames(200)
    for frame in sent:
        network.send(near.host, [(near.id, frame)])
    network.scheduler.run_until(10.0)
    assert there.bytes == b"".join(sent)


def test_cut_holds_back_and_mending_lets_go() -> None:
    network, near, there = linked(Weather())
    pair = [(near.host.address.host, there.address.host)]
    sent = frames(3)
    network.send(near.host, [(near.id, sent[0])])
    network.cut(pair)
    network.scheduler.run_until(1.0)
    network.send(near.host, [(near.id, sent[1])])
    network.scheduler.run_until(5.0)
    assert there.bytes == b""
    network.mend(pair)
    network.send(near.host, [(near.id, sent[2])])
    network.scheduler.run_until(6.0)
    assert there.bytes == b"".join(sent)


def test_reset_loses_what_is_under_way_and_tells_both_ends() -> None:
    network, near, there = linked(Weather())
    network.send(near.host, [(near.id, frames(1)[0])])
    network.reset(near, "connection reset")
    network.scheduler.run_until(1.0)
    assert there.bytes == b""
    assert near.is_closed
    assert near.other.is_closed
    assert not network.ends


def test_half_open_link_is_lost_at_one_end_only() -> None:
    network, near, there = linked(Weather())
    network.half_open(near, "connection timed out")
    network.scheduler.run_until(1.0)
    assert near.is_closed
    assert not near.other.is_closed
    assert there.posted == []
    assert len(near.host.posted) == 1  # type: ignore[attr-defined]
    network.send(there, [(near.other.id, frames(1)[0])])
    network.scheduler.run_until(2.0)
    assert near.host.bytes == b""  # type: ignore[attr-defined]
    network.close(near.other.id, "done")
    assert not network.ends


def test_slow_host_is_late_with_all_that_it_sends() -> None:
    network, near, there = linked(Weather(delay_s=(0.0, 0.1)))
    network.slowed[near.host.address.host] = 2.0
    network.send(near.host, [(near.id, frames(1)[0])])
    network.send(there, [(near.other.id, frames(1)[0])])
    network.scheduler.run_until(1.0)
    assert there.bytes == b""
    assert near.host.bytes == frames(1)[0]  # type: ignore[attr-defined]
    network.scheduler.run_until(2.2)
    assert there.bytes == frames(1)[0]


def test_closing_comes_after_what_was_sent_before() -> None:
    network, near, there = linked(Weather(delay_s=(0.0, 1.0)))
    sent = frames(20)
    network.send(near.host, [(near.id, frame) for frame in sent])
    network.close(near.id, "done")
    network.scheduler.run_until(20.0)
    assert there.bytes == b"".join(sent)
    assert len(there.posted) == 1


def test_harsh_weather_loses_repeats_and_reorders_whole_frames() -> None:
    weather = Weather(frame_loss=0.2, frame_twice=0.2, frame_late=0.2)
    network, near, there = linked(weather)
    sent = frames(300)
    for frame in sent:
        network.send(near.host, [(near.id, frame)])
        network.scheduler.run_until(network.scheduler.now + 0.01)
    network.scheduler.run_until(20.0)
    length = len(sent[0])
    arrived = [there.bytes[at : at + length] for at in range(0, 20 * length, length)]
    assert all(frame in sent for frame in arrived)
    assert arrived != sent[:20]


def test_parts_of_a_chunk_are_the_chunk() -> None:
    rng = Random(1)
    chunk = Chunk(bytes(range(40)), (Ping(),))
    cut = 0
    for _ in range(50):
        cut_up = list(parts(chunk, rng))
        assert b"".join(part.data for part in cut_up) == chunk.data
        assert all(part.data for part in cut_up)
        assert [part.messages for part in cut_up][-1] == chunk.messages
        cut += len(cut_up) > 1
    assert cut > 5


def test_chunk_knows_what_was_sent_in_each_batch() -> None:
    _, near, _ = linked(Weather())
    chunk = chunk_of(near, [encoding.batch_frame(7, []), encoding.encode(Ping())], everything=True)
    assert near.batches == {7: ()}
    assert len(chunk.messages) == 2


def test_things_happen_in_the_order_of_their_times_and_then_of_their_planning() -> None:
    scheduler = Scheduler()
    done: list[str] = []
    scheduler.after(2.0, lambda: done.append("c"))
    scheduler.after(1.0, lambda: done.append("a"))
    scheduler.after(1.0, lambda: done.append("b"))
    scheduler.run_until(1.5)
    assert done == ["a", "b"]
    assert scheduler.now == 1.5
    scheduler.at(0.0, lambda: done.append("late"))
    scheduler.run_until(3.0)
    assert done == ["a", "b", "late", "c"]


def test_purposes_have_their_own_randomness() -> None:
    assert split(1, "network").random() == split(1, "network").random()
    assert split(1, "network").random() != split(1, "faults").random()
    assert split(1, "network").random() != split(2, "network").random()


def test_it_knows_since_when_nothing_was_cut() -> None:
    network, near, there = linked(Weather())
    here = near.host
    one_way = [(here.address.host, there.address.host)]
    assert network.uncut_since(here, there) == 0.0
    network.scheduler.run_until(5.0)
    network.cut(one_way)
    network.scheduler.run_until(7.0)
    assert network.uncut_since(here, there) == network.uncut_since(there, here) == 7.0
    network.mend(one_way)
    network.scheduler.run_until(9.0)
    assert network.uncut_since(here, there) == network.uncut_since(there, here) == 7.0


def test_it_knows_how_slow_it_was_at_most() -> None:
    network, near, _ = linked(Weather(delay_s=(0.1, 0.5)))
    for frame in frames(50):
        network.send(near.host, [(near.id, frame)])
    assert 0.1 < network.slowest_s <= 0.5
    assert not network.was_harsh
