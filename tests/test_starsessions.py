"""The store for starsessions, behind its own middleware."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient
from starsessions import SessionAutoloadMiddleware, SessionMiddleware, load_session
from starsessions.session import regenerate_session_id

from replsession.starsessions import ReplicatedStore
from tests.test_package import ROOT, python_blocks
from tests.web.wired import Wired

SECRET = "short"
Page = Callable[[Request], Awaitable[object]]


def site(store: ReplicatedStore, page: Page, **options: Any) -> TestClient:
    """Return a browser of an application whose only page does this."""

    async def endpoint(request: Request) -> Response:
        return JSONResponse(await page(request))

    app = Starlette(
        routes=[Route("/", endpoint)],
        middleware=[
            Middleware(SessionMiddleware, store=store, cookie_https_only=False, **options),
            Middleware(SessionAutoloadMiddleware),
        ],
    )
    return TestClient(app)


async def count(request: Request) -> object:
    request.session["n"] = request.session.get("n", 0) + 1
    return request.session["n"]


async def clear(request: Request) -> object:
    request.session.clear()
    return None


async def read(request: Request) -> object:
    return dict(request.session)


def cookie(client: TestClient) -> str:
    return str(client.cookies["session"])


def with_cookie(client: TestClient, value: str) -> TestClient:
    """Return a browser that has this cookie as if a response had set it."""
    client.cookies.clear()
    client.cookies.set("session", value, domain="testserver.local")
    return client


def going_to(client: TestClient, other: TestClient) -> TestClient:
    """Return the other, with the cookie of the first."""
    return with_cookie(other, cookie(client))


def test_it_counts() -> None:
    client = site(ReplicatedStore(SECRET, cluster=None), count, lifetime=60, rolling=True)
    assert [client.get("/").json() for _ in range(3)] == [1, 2, 3]


def test_a_session_of_the_browser_is_kept() -> None:
    client = site(ReplicatedStore(SECRET, cluster=None), count)
    assert [client.get("/").json() for _ in range(3)] == [1, 2, 3]


def test_two_members(monkeypatch: pytest.MonkeyPatch) -> None:
    wired = Wired(monkeypatch, 1, 2)
    one, two = (
        site(ReplicatedStore(SECRET, cluster=cluster), count, lifetime=60, rolling=True)
        for cluster in wired.clusters.values()
    )
    assert one.get("/").json() == 1
    wired.network.run(0.1)
    assert going_to(one, two).get("/").json() == 2
    wired.network.run(0.1)
    assert one.get("/").json() == 3
    wired.network.run(61.0)
    assert two.get("/").json() == 1


def test_without_rolling_it_is_over_after_its_lifetime(monkeypatch: pytest.MonkeyPatch) -> None:
    wired = Wired(monkeypatch, 1)
    store = ReplicatedStore(SECRET, cluster=wired.clusters["m1"])
    client = site(store, count, lifetime=60)
    assert client.get("/").json() == 1
    wired.network.run(61.0)
    # Its cookie has not aged: the virtual time is the members' alone.
    assert client.get("/").json() == 1


@pytest.mark.parametrize("chosen", ["chosen by the client", "a" * 32, "x" * 4000])
def test_an_id_that_the_client_chose_is_not_adopted(chosen: str) -> None:
    store = ReplicatedStore(SECRET, cluster=None)
    client = with_cookie(site(store, count, lifetime=60), chosen)
    assert [client.get("/").json() for _ in range(2)] == [1, 2]
    assert cookie(client) != chosen
    thief = with_cookie(site(store, count, lifetime=60), chosen)
    assert thief.get("/").json() == 1


def test_logout_beats_a_slow_writer_and_its_browser_can_log_in_again() -> None:
    store = ReplicatedStore(SECRET, cluster=None)
    client = site(store, count, lifetime=60)
    client.get("/")
    old = cookie(client)
    quick = going_to(client, site(store, clear, lifetime=60))

    async def slow(request: Request) -> object:
        assert request.session["n"] == 1
        assert quick.get("/").status_code == 200
        request.session["late"] = True
        return None

    slow_browser = going_to(client, site(store, slow, lifetime=60))
    assert slow_browser.get("/").status_code == 200
    # The late answer has given the browser its dead id again.
    assert cookie(slow_browser) == old
    again = going_to(slow_browser, site(store, count, lifetime=60))
    assert [again.get("/").json() for _ in range(2)] == [1, 2]
    assert cookie(again) != old
    copied = with_cookie(site(store, read, lifetime=60), old)
    assert copied.get("/").json() == {}


def test_a_regenerated_id_has_the_session_under_it() -> None:
    store = ReplicatedStore(SECRET, cluster=None)

    async def login(request: Request) -> object:
        regenerate_session_id(request)
        return await count(request)

    client = site(store, login, lifetime=60)
    assert client.get("/").json() == 1
    old = cookie(client)
    assert client.get("/").json() == 2
    assert cookie(client) != old


@pytest.mark.anyio
async def test_its_methods() -> None:
    store = ReplicatedStore(SECRET, cluster=None)
    assert await store.read("an id", 60) == b""
    new = await store.write("an id", b"x", 60, 60)
    assert new != "an id"
    assert await store.write(new, b"y", 60, 0) == new
    assert await store.read(new, 60) == b"y"
    assert await store.exists(new)
    assert not await store.exists("an id")
    await store.remove(new)
    await store.remove("unknown")
    assert not await store.exists(new)
    assert await store.write(new, b"z", 0, 0) == new
    assert not await store.exists(new)


def test_the_example_of_the_page_runs() -> None:
    (block,) = python_blocks((ROOT / "docs" / "starsessions.md").read_text(encoding="utf-8"))
    assert len(block.splitlines()) < 20

    async def endpoint(request: Request) -> Response:
        await load_session(request)
        return JSONResponse(await count(request))

    names: dict[str, Any] = {"SECRET": SECRET, "routes": [Route("/", endpoint)]}
    alone = block.replace("Store(SECRET)", "Store(SECRET, cluster=None)")
    assert alone != block
    exec(alone.replace("routes=...", "routes=routes"), names)
    with TestClient(names["app"], base_url="https://here") as client:
        assert [client.get("/").json() for _ in range(3)] == [1, 2, 3]
