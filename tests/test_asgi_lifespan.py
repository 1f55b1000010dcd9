"""The front door for ASGI: when the member starts and stops, and what a request sends to others."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any

import anyio
import pytest

from replsession import Cluster, ClusterStartError, SessionMiddleware
from tests.browser import Answer, Application, Browser, Receive, Send, lifespan, site
from tests.channel.running import HOST, free_port, some_group, until
from tests.test_asgi import SECRET, Scope, alone, counter, reader

pytestmark = pytest.mark.anyio


def some_cluster(**options: Any) -> Cluster:
    """A cluster that no other test belongs to."""
    own = {"secret": "of this test", "port": free_port(), "multicast": some_group()}
    return Cluster.local(**{**own, "discovery_s": 0.1, **options})


@pytest.fixture
def taken_port() -> Iterator[int]:
    """A port that somebody listens on."""
    with socket.socket() as sock:
        sock.bind((HOST, 0))
        sock.listen()
        yield sock.getsockname()[1]


async def test_lifespan_starts_and_stops_the_member() -> None:
    cluster = some_cluster()
    middleware = SessionMiddleware(site(counter), SECRET, cluster=cluster)
    browser = Browser(middleware)
    async with lifespan(middleware) as said:
        assert said.kinds == ["startup.complete"]
        with anyio.fail_after(20):
            while not cluster.is_ready:
                await anyio.sleep(0.01)
        assert (await browser.get()).json() == {"n": 1}
    assert (said.kinds, said.error) == (["startup.complete", "shutdown.complete"], None)
    assert (cluster.state, cluster.is_ready) == ("stopped", False)


@pytest.mark.parametrize("expires", [True, False])
async def test_a_shutdown_may_end_the_sessions(expires: bool) -> None:
    middleware = alone(site(counter), expire_sessions_on_shutdown=expires)
    browser = Browser(middleware)
    async with lifespan(middleware):
        assert (await browser.get()).json() == {"n": 1}
        assert (await browser.get()).json() == {"n": 2}
    assert (await browser.get()).json() == {"n": 1 if expires else 3}


async def test_one_process_alone_needs_no_lifespan_and_takes_one() -> None:
    middleware = alone(site(counter))
    browser = Browser(middleware)
    async with lifespan(middleware) as said:
        assert (await browser.get()).json() == {"n": 1}
    assert said.error is None
    assert (await browser.get()).json() == {"n": 2}


async def test_without_a_lifespan_the_first_request_starts_the_member() -> None:
    cluster = some_cluster()
    middleware = SessionMiddleware(site(counter), SECRET, cluster=cluster)
    browser = Browser(middleware)
    try:
        assert (await browser.get()).json() == {"n": 1}
        assert cluster.state in ("state transfer", "ready")
        assert (await browser.get()).json() == {"n": 2}
    finally:
        middleware._channel.stop_thread()


async def test_a_lifespan_that_fails_stops_the_member() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no database"})

    cluster = some_cluster()
    async with lifespan(SessionMiddleware(app, SECRET, cluster=cluster)) as said:
        pass
    assert (said.kinds, said.error) == (["startup.failed"], None)
    assert cluster.state == "stopped"


async def test_a_required_cluster_that_cannot_start_fails_the_lifespan(taken_port: int) -> None:
    cluster = some_cluster(port=taken_port, auto_bind=1)
    middleware = SessionMiddleware(site(counter), SECRET, cluster=cluster, required=True)
    async with lifespan(middleware) as said:
        pass
    assert said.kinds == ["startup.failed"]
    assert f"port {taken_port} is taken on {HOST}" in said.sent[0]["message"]
    assert isinstance(said.error, ClusterStartError)
    # A server that goes on without the lifespan serves nothing, and tries again each time.
    refused = await Browser(middleware).get()
    assert (refused.status, refused.values("retry-after")) == (503, ["1"])


async def test_without_it_everything_goes_on_and_readiness_says_no(
    taken_port: int, caplog: pytest.LogCaptureFixture
) -> None:
    cluster = some_cluster(port=taken_port, auto_bind=1)
    middleware = SessionMiddleware(site(counter), SECRET, cluster=cluster)
    browser = Browser(middleware)
    async with lifespan(middleware) as said:
        assert said.kinds == ["startup.complete"]
        assert [(await browser.get()).json()["n"] for _ in range(3)] == [1, 2, 3]
        assert not cluster.is_ready
        assert f"port {taken_port} is taken on {HOST}" in cluster.state
    assert said.error is None
    assert "Cluster cannot start: " in caplog.messages[0]
    assert f"port {taken_port} is taken" in caplog.messages[0]


def test_a_read_only_request_sends_no_message() -> None:
    """With a second member that really runs."""
    settings: dict[str, Any] = {
        "secret": "of both",
        "multicast": some_group(),
        "discovery_s": 0.1,
        # Nothing that goes by itself may fall into the counting.
        "heartbeat_interval_s": 60,
        "drop_after_s": 600,
        "repair_interval_s": 600,
    }
    one = SessionMiddleware(
        site(counter), SECRET, cluster=Cluster.local(port=free_port(), **settings)
    )
    other = SessionMiddleware(
        site(counter), SECRET, cluster=Cluster.local(port=free_port(), **settings)
    )
    channels = one._channel, other._channel

    async def with_one(browser: Browser, app: Application, requests: int) -> Answer:
        one.app = app
        for _ in range(requests):
            answer = await browser.get()
        return answer

    try:
        for channel in channels:
            channel.ensure_started()
        until(lambda: all(channel.is_ready for channel in channels), "both ready")
        until(lambda: all(len(c.member.node.membership.view) for c in channels), "both up")
        browser = Browser(one)
        anyio.run(with_one, browser, site(counter), 1)
        received = other._behind.manager.metrics
        until(lambda: received.deltas_received == 1, "the write on the other")
        sent = one._behind.manager.metrics
        until(lambda: sent.deltas_acknowledged == 1, "its acknowledgement")
        until_quiet(lambda: (sent.frames_sent, received.frames_sent))
        before = sent.as_dict()

        answer = anyio.run(with_one, browser, site(reader), 50)

        # A write after them is behind everything that they would have sent.
        anyio.run(with_one, browser, site(counter), 1)
        until(lambda: sent.deltas_acknowledged == 2, "the acknowledgement of a later write")
        assert answer.json() == {"n": 1}
        after = sent.as_dict()
        changed = {name for name in after if after[name] != before[name]}
        assert changed == {
            "opens",
            "commits",
            "frames_sent",
            "bytes_sent",
            "deltas_sent",
            "deltas_acknowledged",
        }
        assert after["opens"] - before["opens"] == 51
        assert after["frames_sent"] - before["frames_sent"] == 1
        assert after["deltas_sent"] - before["deltas_sent"] == 1
    finally:
        for channel in channels:
            channel.stop_thread()


def until_quiet(counters: Callable[[], tuple[int, ...]]) -> None:
    """Wait until nothing was counted for a while: what followed the start has been sent."""
    seen: list[tuple[int, ...]] = []
    for _ in range(200):
        anyio.run(anyio.sleep, 0.02)
        seen.append(counters())
        if len(seen) > 15 and len(set(seen[-15:])) == 1:
            return
    raise AssertionError(f"never quiet: {seen[-3:]}")
