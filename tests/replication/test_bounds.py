"""
A session as large as it may be, with names as long as they may be, by every way it travels.

Nothing of it may ever be too long for a frame: a receiver would close the link.
"""

from __future__ import annotations

import pytest

from replsession.config import ITEM_HEAD_BYTES, Limits
from replsession.errors import SessionTooLarge
from replsession.session.change import Change
from replsession.session.codec import encode
from replsession.session.format import NAME_BYTES_MAX
from replsession.session.record import SECRET
from tests.harness import Network, some_key

KEY = some_key(1)
LIMITS = Limits()
SMALL = Limits(
    value_bytes_max=2000,
    session_bytes_max=60_000,
    attributes_max=64,
    chunk_bytes=1500,
    piece_bytes=1000,
    frame_bytes_max=1500 + 2000 + ITEM_HEAD_BYTES,
)
"""Frames in which there is room for one value and no more."""
PARAMETERS = [pytest.param(LIMITS, id="default"), pytest.param(SMALL, id="small")]


def name(number: int, filling: str = "\N{GREEK SMALL LETTER OMEGA}") -> str:
    """Return a name of as many bytes as one may have; most characters have two."""
    digits = f"{number:04}"
    return digits + filling * ((NAME_BYTES_MAX - len(digits)) // len(filling.encode()))


def largest(limits: Limits, value: int = 0x66) -> dict[str, bytes]:
    """Return attributes that fill all bounds of a session."""
    number, rest = limits.attributes_max, limits.session_bytes_max
    longest = [limits.value_bytes_max] * 2
    others = (rest - sum(longest)) // (number - len(longest))
    sizes = [*longest, *[others] * (number - len(longest))]
    assert len(sizes) == number
    assert rest - number < sum(sizes) <= rest
    return {name(at): bytes([value]) * size for at, size in enumerate(sizes)}


def two(limits: Limits) -> Network:
    """Return two members that see each other."""
    network = Network()
    for number in (1, 2):
        network.add(number, limits=limits)
    network.run(3.0)
    return network


def refusals(network: Network) -> int:
    """Return how many links were closed because of what came over them."""
    return sum(node.metrics.links_refused for node in network.nodes.values())


def birth(values: dict[str, bytes]) -> dict[str, bytes | None]:
    """Return the writes of a birth."""
    return {SECRET: bytes(16), **values}


@pytest.mark.parametrize("limits", PARAMETERS)
def test_one_commit(limits: Limits) -> None:
    network, values = two(limits), largest(limits)
    network.commit("m1", KEY, birth(values), birth=True)
    network.run(1.0)

    assert network.values("m2", KEY) == values
    assert refusals(network) == 0
    assert network.nodes["m1"].metrics.deltas_too_long == (limits is SMALL)
    assert network.nodes["m2"].metrics.gaps == 0


@pytest.mark.parametrize("limits", PARAMETERS)
def test_many_commits_joined_while_the_window_is_shut(limits: Limits) -> None:
    network, values = two(limits), largest(limits)
    network.commit("m1", KEY, birth({"x": b"\x01"}), birth=True)
    network.run(1.0)
    peer = next(iter(network.nodes["m1"].peers))
    peer.outbox.in_flight_bytes += limits.window_bytes
    # Each request stays within the bounds of what it sees; together they do not.
    for number in range(4):
        for written, value in largest(limits, number).items():
            change = Change(KEY, {f"{number}{written[1:]}": value})
            assert network.nodes["m1"].commit(change, network.now) is not None
    assert len(peer.outbox) > 1
    peer.outbox.in_flight_bytes -= limits.window_bytes
    network.input("m1", lambda node, now: None)
    network.run(1.0)

    found = network.values("m2", KEY)
    assert found is not None
    assert len(found) == 1 + 4 * len(values)
    assert found == network.values("m1", KEY)
    assert refusals(network) == 0


@pytest.mark.parametrize("limits", PARAMETERS)
def test_state_transfer(limits: Limits) -> None:
    network, values = Network(), largest(limits)
    network.add(1, limits=limits)
    network.run(1.0)
    for number in (1, 2, 3):
        network.commit("m1", some_key(number), birth(values), birth=True)
    network.nodes["m1"].store.put_to_sleep(some_key(3), network.now, network.now)
    network.nodes["m1"].repairer.settled["m9"] = 0.0
    network.add(2, limits=limits)
    network.run(3.0)

    assert network.nodes["m2"].is_ready
    assert [network.values("m2", some_key(number)) for number in (1, 2)] == [values] * 2
    assert refusals(network) == 0


@pytest.mark.parametrize("limits", PARAMETERS)
def test_repair(limits: Limits) -> None:
    network, values = two(limits), largest(limits)
    network.part("m1", "m2")
    network.run(5.0)
    network.commit("m1", KEY, birth(values), birth=True)
    network.meet("m1", "m2")
    network.run(30.0)

    assert network.values("m2", KEY) == values
    assert refusals(network) == 0


@pytest.mark.parametrize("limits", PARAMETERS)
def test_a_removed_attribute_of_each_name_travels_along(limits: Limits) -> None:
    network, values = two(limits), largest(limits)
    network.commit("m1", KEY, birth(values), birth=True)
    network.commit("m1", KEY, dict.fromkeys(values))
    others = {name(at, "x"): b"\x01" for at in range(limits.attributes_max)}
    network.commit("m1", KEY, dict(others))
    network.run(1.0)
    network.add(3, limits=limits)
    network.run(3.0)

    assert network.values("m2", KEY) == network.values("m3", KEY) == others
    assert refusals(network) == 0


def test_a_value_that_is_too_long_is_refused_at_commit_with_name_and_size() -> None:
    with pytest.raises(SessionTooLarge) as caught:
        encode("cart", bytes(LIMITS.value_bytes_max), LIMITS)

    assert "'cart'" in str(caught.value)
    assert caught.value.size > caught.value.bound == LIMITS.value_bytes_max
