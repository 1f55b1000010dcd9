"""The status of a node: who is there, how far behind, and how the state transfer went."""

from __future__ import annotations

import json

import pytest

from replsession.config import Limits
from replsession.messages import Deltas, StateChunk, StateEnd
from replsession.session.census import Count
from replsession.status import Around, ClusterStatus, OtherMember, status_of
from tests.harness import Network, some_key

AROUND = Around(4711, "shop", "ready", True, "1.2.3")


def status(network: Network, name: str) -> ClusterStatus:
    return status_of(network.nodes[name], AROUND, {}, 0.0, network.now)


def other(network: Network, name: str) -> OtherMember:
    (found,) = status(network, name).others
    return found


def pair(limits: Limits | None = None) -> Network:
    """Return two members; the second has got the state of the first."""
    network = Network()
    network.add(1, limits=limits)
    network.run(2.0)
    network.commit("m1", some_key(), {"x": b"\x01"}, birth=True)
    network.add(2)
    network.run(1.0)
    assert network.nodes["m2"].is_ready
    return network


def test_this_member_is_told_with_what_its_channel_knows() -> None:
    network = pair()
    me = status(network, "m1").member
    assert (me.name, me.id, me.incarnation, me.address) == ("m1", "01" * 8, 1, "127.0.0.1:4001")
    assert (me.pid, me.cluster, me.state, me.ready, me.version) == (
        4711,
        "shop",
        "ready",
        True,
        "1.2.3",
    )
    assert me.protocol == 1
    assert me.age_s == pytest.approx(3.0)


def test_the_other_one_is_told_with_its_own_age() -> None:
    network = pair()
    seen = other(network, "m2")
    assert (seen.name, seen.id, seen.state, seen.ready, seen.via) == (
        "m1",
        "01" * 8,
        "up",
        True,
        None,
    )
    assert seen.age_s == pytest.approx(3.0)
    assert other(network, "m1").age_s == pytest.approx(1.0)


def test_what_is_not_acknowledged_is_the_lag() -> None:
    network = pair(Limits(window_bytes=1))
    assert other(network, "m1").lag is not None
    network.hold("m2")
    network.commit("m1", some_key(1), {"x": b"\x02"})
    network.commit("m1", some_key(2), {"x": b"\x02"}, birth=True)
    network.run(0.4)
    seen = other(network, "m1")
    assert seen.lag is not None and seen.outbox is not None
    assert (seen.lag.deltas, seen.outbox.deltas, seen.outbox.overflows) == (2, 1, 0)
    assert seen.lag.bytes > seen.outbox.bytes > 0
    assert seen.lag.oldest_s == pytest.approx(0.4)
    assert (seen.outbox.deltas_max, seen.outbox.bytes_max) == (20_000, 32 * 1024 * 1024)

    network.release("m2")
    network.run(0.1)
    after = other(network, "m1").lag
    assert after is not None
    assert (after.deltas, after.bytes, after.oldest_s) == (0, 0, None)


def test_an_overflow_is_counted_for_the_member_that_was_too_slow() -> None:
    network = pair(Limits(window_bytes=1, outbox_deltas_max=2))
    network.hold("m2")
    for number in range(1, 6):
        network.commit("m1", some_key(number), {"x": b"\x02"}, birth=number > 1)
    seen = other(network, "m1")
    assert seen.outbox is not None and seen.outbox.overflows == 1
    assert status(network, "m1").metrics["outboxes_overflowed"] == 1


def test_the_last_round_of_repair_is_told_with_its_age() -> None:
    network = pair()
    network.run(30.0)
    repaired = [other(network, name).repaired_s_ago for name in ("m1", "m2")]
    assert all(age is not None and 0 <= age <= 6 for age in repaired)
    assert not other(network, "m1").is_repairing


def test_a_silent_member_is_suspected_and_one_behind_a_third_is_unreachable() -> None:
    network = pair()
    network.add(3)
    network.run(2.0)
    network.part("m1", "m2")
    network.run(3.5)
    states = {one.name: one for one in status(network, "m1").others}
    assert states["m2"].state == "suspected"
    network.run(2.0)
    states = {one.name: one for one in status(network, "m1").others}
    assert (states["m2"].state, states["m2"].via) == ("unreachable", "m3")
    assert (states["m2"].lag, states["m2"].outbox) == (None, None)
    assert (states["m3"].state, states["m3"].via) == ("up", None)


def test_a_transfer_is_told_while_it_runs_and_after_it() -> None:
    network = pair()
    first, second = (status(network, name).transfer for name in ("m1", "m2"))
    assert (first.state, first.donor) == ("skipped", None)
    assert first.ended_s_ago == pytest.approx(2.0)
    assert (second.state, second.donor, second.sessions) == ("received", "m1", 1)
    assert second.bytes > 0 and second.progress == 1.0
    assert second.ended_s_ago == pytest.approx(1.0)
    assert second.took_s is not None and second.took_s <= 0.1

    network.hold("m1", StateChunk, StateEnd)
    network.hold("m2", StateChunk, StateEnd)
    network.add(3)
    network.run(0.5)
    joiner = status(network, "m3").transfer
    assert (joiner.state, joiner.progress, joiner.sessions) == ("running", 0.0, 0)
    assert joiner.donor in ("m1", "m2") and joiner.ended_s_ago is None
    donors = [status(network, name) for name in ("m1", "m2")]
    sending = [one.gets_state for each in donors for one in each.others if one.name == "m3"]
    assert sorted(share is not None for share in sending) == [False, True]


def test_one_who_looks_says_so_and_one_alone_has_none() -> None:
    network = Network()
    network.add(1)
    assert status(network, "m1").transfer.state == "looking"
    network.add(2, alone=True)
    alone = status(network, "m2")
    assert (alone.transfer.state, alone.member.address, alone.others) == ("none", "", ())


def test_all_of_it_is_json_without_any_value() -> None:
    network = pair()
    network.commit("m1", some_key(), {"card": b"\x6b4111-secret"})
    counts = {"/shop": Count(1, 2, 3, 4)}
    made = status_of(network.nodes["m1"], AROUND, counts, 1.5, network.now)
    told = json.loads(json.dumps(made.as_dict()))
    assert told["sessions"] == [
        {"context": "/shop", "live": 1, "sleeping": 2, "ended": 3, "bytes": 4}
    ]
    assert told["counted_s_ago"] == 1.5
    assert told["metrics"] == network.nodes["m1"].metrics.as_dict()
    assert "4111" not in json.dumps(told) and "card" not in json.dumps(told)


def test_to_look_changes_nothing() -> None:
    network = pair()
    network.hold("m2")
    network.commit("m1", some_key(), {"x": b"\x03"})
    before = len(network.sent["m1"])
    for _ in range(3):
        status(network, "m1")
    network.input("m1", lambda node, now: None)
    assert len(network.sent["m1"]) == before
    assert network.frames_of("m1", Deltas)
