"""Opaque values under keys of others: where they lie, how long they live, and what ends them."""

from __future__ import annotations

import logging
from typing import Any

import anyio
import pytest

from replsession import Cluster, ConfigError, SessionError, SessionTooLarge
from replsession.config import Timing
from replsession.errors import ReplicationTimeout
from replsession.messages import Acknowledge, Deltas, RecordInquiry, StateCredit
from replsession.settings.configuration import Configuration
from replsession.web import opaque
from replsession.web.opaque import Held, OpaqueStore
from tests.channel.running import until
from tests.web.wired import Wired

pytestmark = pytest.mark.anyio
SECRET = "short"


class Stores:
    """A store on each of two members."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *numbers: int) -> None:
        self.wired = Wired(monkeypatch, *numbers)
        self.network = self.wired.network

    def on(self, number: int, secret: Any = SECRET, **options: Any) -> OpaqueStore:
        """Return the store of an application on a member."""
        cluster = self.wired.clusters[f"m{number}"]
        return OpaqueStore(secret, options.pop("context", "/app"), cluster=cluster, **options)


@pytest.fixture
def stores(monkeypatch: pytest.MonkeyPatch) -> Stores:
    return Stores(monkeypatch, 1, 2)


def alone(secret: Any = SECRET) -> OpaqueStore:
    return OpaqueStore(secret, "/app", cluster=None)


async def value_of(store: OpaqueStore, key: str = "a key") -> bytes | None:
    held = await store.get(key)
    return None if held is None else held.value


async def test_of_a_file_only_what_stores_take_holds() -> None:
    values = {"cluster": "none", "max_sessions_per_principal": 1, "concern": "all", "context": "/x"}
    store = OpaqueStore(SECRET, "/app", cluster=Cluster.described(Configuration(values)))
    assert store._asked.concern == "all"
    await store.put("a key", b"1", None)
    await store.put("another", b"2", None)
    assert (await value_of(store), await value_of(store, "another")) == (b"1", b"2")


async def test_what_was_put_is_found() -> None:
    store = alone()
    assert await store.get("a key") is None
    assert await store.put("a key", b"\x00\xff", None)
    assert await store.get("a key") == Held(b"\x00\xff", None)
    assert await store.put("a key", b"", None)
    assert await value_of(store) == b""
    assert await store.get("another") is None
    assert await store.put("\udc80 ünïcode" * 1000, b"x", None)


async def test_a_key_is_kept_nowhere(stores: Stores) -> None:
    store = stores.on(1)
    await store.put("a key of a client", b"x", 60)
    for member in stores.wired.clusters:
        records = stores.wired.channel(member).member.node.store.records()
        for record in records:
            kept = [
                record.key.locator,
                *(write.value or b"" for write in record.attributes.values()),
            ]
            assert not any(b"a key" in part for part in kept)


async def test_values_are_found_on_every_member(stores: Stores) -> None:
    one, two = stores.on(1), stores.on(2)
    await one.put("a key", b"1", 60)
    stores.network.run(0.1)
    assert await value_of(two) == b"1"
    await two.put("a key", b"2", 60)
    stores.network.run(0.1)
    assert await value_of(one) == b"2"


async def test_what_is_not_here_yet_is_asked_for(stores: Stores) -> None:
    one, two = stores.on(1), stores.on(2)
    stores.network.hold("m1", Deltas)
    await one.put("a key", b"1", 60)
    assert await value_of(two) == b"1"


@pytest.mark.parametrize("by", ["secret", "context"])
async def test_another_application_finds_nothing(stores: Stores, by: str) -> None:
    await stores.on(1).put("a key", b"1", 60)
    other = stores.on(1, "another") if by == "secret" else stores.on(1, context="/other")
    assert await other.get("a key") is None


async def test_an_older_secret_still_leads_to_what_lies_there(stores: Stores) -> None:
    await stores.on(1).put("a key", b"1", 60)
    newer = stores.on(1, ["a newer one", SECRET])
    assert await value_of(newer) == b"1"
    await newer.put("a key", b"2", 60)
    assert await value_of(stores.on(1)) == b"2"
    await newer.put("another", b"3", 60)
    assert await stores.on(1).get("another") is None
    await newer.end("a key")
    assert await newer.get("a key") is None


async def test_a_value_is_over_after_its_time_though_it_is_read(stores: Stores) -> None:
    store = stores.on(1)
    await store.put("a key", b"1", 60)
    for _ in range(5):
        stores.network.run(11.0)
        assert await value_of(store) == b"1"
    held = await store.get("a key")
    assert held is not None and held.left_s is not None
    assert 4 < held.left_s <= 5
    stores.network.run(6.0)
    assert await store.get("a key") is None


async def test_what_is_over_is_over_on_the_others_as_well(stores: Stores) -> None:
    await stores.on(1).put("a key", b"1", 60)
    stores.network.run(30.0)
    assert await value_of(stores.on(2)) == b"1"
    stores.network.run(31.0)
    assert await stores.on(2).get("a key") is None


@pytest.mark.parametrize("after_s", [61.0, 500.0])
async def test_what_is_over_may_be_put_anew(stores: Stores, after_s: float) -> None:
    store = stores.on(1)
    await store.put("a key", b"1", 60)
    stores.network.run(after_s)
    assert await store.put("a key", b"2", 60)
    held = await store.get("a key")
    assert held is not None and held.left_s is not None
    assert (held.value, 59 < held.left_s <= 60) == (b"2", True)
    stores.network.run(50.0)
    assert await value_of(stores.on(2)) == b"2"
    await store.put("a key", b"3", None)
    stores.network.run(200.0)
    assert await value_of(store) == b"3"


async def test_reading_may_let_it_live_on_and_mostly_sends_nothing(stores: Stores) -> None:
    store = stores.on(1)
    await store.put("a key", b"1", 100)
    commits = store.channel.metrics.commits
    stores.network.run(5.0)
    await store.get("a key", renew_for_s=100)
    assert store.channel.metrics.commits == commits
    for _ in range(5):
        stores.network.run(50.0)
        held = await store.get("a key", renew_for_s=100)
        assert held == Held(b"1", 100)
    assert store.channel.metrics.commits == commits + 5
    shorter = await store.get("a key", renew_for_s=10)
    assert shorter == Held(b"1", 10)
    await store.put("a key", b"1", None)
    assert await store.get("a key", renew_for_s=10) == Held(b"1", None)


async def test_what_was_ended_stays_ended(stores: Stores, caplog: pytest.LogCaptureFixture) -> None:
    one, two = stores.on(1), stores.on(2)
    await one.put("a key", b"1", 60)
    stores.network.run(0.1)
    await two.end("a key")
    await two.end("unknown")
    stores.network.run(0.1)
    # A slow request that had read it.
    with caplog.at_level(logging.WARNING, "replsession"):
        assert not await one.put("a key", b"2", 60)
    assert "was ended" in caplog.text
    assert "a key" not in caplog.text
    assert await one.get("a key") is None
    assert await two.get("a key") is None


async def test_all_of_an_application_may_be_ended(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, other = stores.on(1), stores.on(1, context="/other")
    monkeypatch.setattr(opaque, "ENDED_AT_ONCE_MAX", 3)
    for number in range(10):
        await store.put(str(number), b"x", 60)
    await other.put("1", b"other", 60)
    await store.end_all()
    stores.network.run(1.0)
    assert await store.get("7") is None
    assert await stores.on(2).get("9") is None
    assert await value_of(other, "1") == b"other"
    await store.end_all()


async def test_a_write_waits_for_its_concern(stores: Stores) -> None:
    store = stores.on(1, concern="one", ack_timeout_s=1.0)
    waiters = stores.wired.channel("m1").member.waiters
    stores.network.hold("m2", Acknowledge)
    problems: list[ReplicationTimeout] = []

    async def put() -> None:
        try:
            await store.put("a key", b"1", 60)
        except ReplicationTimeout as error:
            problems.append(error)

    async with anyio.create_task_group() as group:
        group.start_soon(put)
        await anyio.wait_all_tasks_blocked()
        until(lambda: waiters, "somebody waits")
        stores.network.run(1.5)
    assert [error.missing for error in problems] == [("m2",)]
    assert await value_of(store) == b"1"


async def test_a_member_without_its_state_cannot_say(monkeypatch: pytest.MonkeyPatch) -> None:
    stores = Stores(monkeypatch, 1)
    for number in range(3):
        await stores.on(1).put(str(number), bytes(100_000), None)
    stores.network.hold("m2", StateCredit, RecordInquiry)
    stores.wired.add(2)
    stores.network.run(0.3)
    store = stores.on(2)
    problems: list[SessionError] = []

    async def ask() -> None:
        try:
            await store.get("a key")
        except SessionError as error:
            problems.append(error)

    async with anyio.create_task_group() as group:
        group.start_soon(ask)
        await anyio.wait_all_tasks_blocked()
        assert problems == []
        stores.network.run(Timing().join_wait_s)
    assert "still receiving" in str(problems[0])


async def test_what_is_refused() -> None:
    store = alone()
    with pytest.raises(SessionTooLarge):
        await store.put("a key", b"x" * 300_000, None)
    for ttl_s in (0, -1, float("nan"), True, "60"):
        with pytest.raises(ValueError, match="ttl_s"):
            await store.put("a key", b"x", ttl_s)  # type: ignore[arg-type]
    assert await store.get("a key") is None
    with pytest.raises(ConfigError, match="context"):
        OpaqueStore(SECRET, "app", cluster=None)
    with pytest.raises(ConfigError, match="secret_key"):
        alone("")
