"""Litestar: its own session middleware over our store, and ours in its place."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any

import pytest
from litestar import Litestar, Request, WebSocket, get, post, websocket
from litestar.middleware.base import DefineMiddleware
from litestar.middleware.session.server_side import ServerSideSessionConfig
from litestar.response import Stream
from litestar.testing import TestClient

from replsession import SessionMiddleware
from replsession.litestar import ReplicatedStore
from tests.test_package import ROOT, python_blocks
from tests.web.wired import Wired

SECRET = "short"
PAGE = (ROOT / "docs" / "litestar.md").read_text(encoding="utf-8")
Asked = Request[Any, Any, Any]


@get("/")
async def read(request: Asked) -> dict[str, Any]:
    """Show all of the session."""
    return dict(request.session)


@post("/count")
async def count(request: Asked) -> int:
    """Count."""
    request.session["n"] = request.session.get("n", 0) + 1
    return int(request.session["n"])


@post("/leave")
async def leave(request: Asked) -> None:
    """Log out."""
    request.clear_session()


def stored(store: ReplicatedStore, *more: Any) -> TestClient[Litestar]:
    """Return a browser of an application with Litestar's own middleware over a store."""
    app = Litestar(
        route_handlers=[read, count, leave, *more],
        stores={"sessions": store},
        logging_config=None,
        middleware=[ServerSideSessionConfig(max_age=60).middleware],
    )
    return TestClient(app)


def counted(client: TestClient[Litestar]) -> int:
    """Count once."""
    return int(client.post("/count").text)


@pytest.fixture
def client() -> Iterator[TestClient[Litestar]]:
    """A browser of an application of one process."""
    with stored(ReplicatedStore(SECRET, cluster=None)) as client:
        yield client


def test_it_counts(client: TestClient[Litestar]) -> None:
    assert [counted(client) for _ in range(3)] == [1, 2, 3]
    assert client.get("/").json() == {"n": 3}


def test_logout_and_login(client: TestClient[Litestar]) -> None:
    counted(client)
    old = client.cookies["session"]
    client.post("/leave")
    assert client.get("/").json() == {}
    assert counted(client) == 1
    assert client.cookies["session"] != old
    client.cookies.clear()
    client.cookies.set("session", old, domain="testserver.local")
    assert counted(client) == 1
    # What was ended stays ended, so nothing is kept under its id.
    assert client.get("/").json() == {}


def test_logout_beats_a_slow_writer() -> None:
    store = ReplicatedStore(SECRET, cluster=None)
    quick = stored(store)

    @post("/slow")
    async def slow(request: Asked) -> None:
        assert request.session["n"] == 1
        await store.delete(request.cookies["session"])
        request.session["late"] = True

    with stored(store, slow) as client, quick:
        counted(client)
        assert client.post("/slow").status_code == 201
        assert client.get("/").json() == {}


def test_two_members(monkeypatch: pytest.MonkeyPatch) -> None:
    wired = Wired(monkeypatch, 1, 2)
    one, two = (stored(ReplicatedStore(SECRET, cluster=each)) for each in wired.clusters.values())
    assert counted(one) == 1
    wired.network.run(0.1)
    two.cookies.set("session", one.cookies["session"], domain="testserver.local")
    assert counted(two) == 2
    wired.network.run(0.1)
    assert counted(one) == 3
    wired.network.run(61.0)
    assert two.get("/").json() == {}
    assert one.get("/").json() == {}


def test_the_member_lives_with_the_application() -> None:
    store = ReplicatedStore(SECRET, cluster=None)
    called: list[str] = []

    async def note(name: str) -> None:
        called.append(name)

    store._values.channel.start = lambda: note("start")  # type: ignore[method-assign]
    store._values.channel.stop = lambda: note("stop")  # type: ignore[method-assign]
    with stored(store) as client:
        counted(client)
        assert called == ["start"]
    assert called == ["start", "stop"]


@pytest.mark.anyio
async def test_its_methods(monkeypatch: pytest.MonkeyPatch) -> None:
    wired = Wired(monkeypatch, 1)
    store = ReplicatedStore(SECRET, cluster=wired.clusters["m1"])
    assert await store.get("a") is None
    assert await store.expires_in("a") is None
    assert not await store.exists("a")
    await store.set("a", "text")
    assert await store.get("a", renew_for=10) == b"text"
    assert await store.expires_in("a") is None
    await store.set("a", b"bytes", expires_in=timedelta(minutes=1))
    assert await store.get("a") == b"bytes"
    assert await store.expires_in("a") == 60
    wired.network.run(30.0)
    assert await store.expires_in("a") == 30
    assert await store.get("a", renew_for=60) == b"bytes"
    assert await store.expires_in("a") == 60
    wired.network.run(61.0)
    assert not await store.exists("a")
    await store.set("b", b"x", expires_in=0)
    assert await store.expires_in("b") is None
    await store.delete("b")
    await store.delete("b")
    assert not await store.exists("b")
    for key in ("c", "d"):
        await store.set(key, b"x", expires_in=60)
    await store.delete_all()
    assert not await store.exists("c")
    assert not await store.exists("d")


class TestOurMiddleware:
    """``SessionMiddleware`` in the place of Litestar's: the better way."""

    @pytest.fixture(params=["inside", "around"])
    def client(
        self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
    ) -> Iterator[TestClient[Litestar]]:
        """A browser of an application with the middleware inside of it, or around."""

        @post("/login")
        async def login(request: Asked) -> None:
            session: Any = request.session
            session["user"] = "anna"
            session.rotate_id()

        @post("/change")
        async def change(request: Asked) -> None:
            request.session.setdefault("cart", []).append(1)

        @post("/logout")
        async def logout(request: Asked) -> None:
            request.session.clear()

        @get("/stream")
        async def stream(request: Asked) -> Stream:
            async def chunks() -> AsyncIterator[str]:
                request.session["late"] = True
                yield "x"

            return Stream(chunks())

        @websocket("/socket")
        async def socket(socket: WebSocket[Any, Any, Any]) -> None:
            await socket.accept()
            socket.session["socket"] = True
            await socket.send_text("done")
            await socket.close()

        handlers = [read, count, login, change, logout, stream, socket]
        plain: dict[str, Any] = {"route_handlers": handlers, "logging_config": None}
        if request.param == "around":
            around: Any = Litestar(**plain)
            app: Any = SessionMiddleware(around, SECRET, cluster=None)
        else:
            # Litestar makes one for each route, so they must share a cluster.
            cluster = Wired(monkeypatch, 1).clusters["m1"]
            ours: Any = SessionMiddleware
            inside = DefineMiddleware(ours, secret_key=SECRET, cluster=cluster)
            app = Litestar(**plain, middleware=[inside])
        with TestClient(app) as client:
            yield client

    def test_all_of_it(self, client: TestClient[Litestar]) -> None:
        assert client.get("/").json() == {}
        assert "session" not in client.cookies
        assert [counted(client) for _ in range(2)] == [1, 2]
        first = client.cookies["session"]
        client.post("/login")
        assert client.cookies["session"][:39] != first[:39]
        for _ in range(2):
            client.post("/change")
        assert client.get("/stream").text == "x"
        with client.websocket_connect("/socket") as socket:
            assert socket.receive_text() == "done"
        assert client.get("/").json() == {
            "n": 2,
            "user": "anna",
            "cart": [1, 1],
            "late": True,
            "socket": True,
        }
        client.post("/logout")
        assert client.get("/").json() == {}


@pytest.mark.parametrize("number", [0, 1])
def test_the_examples_of_the_page_run(number: int) -> None:
    block = python_blocks(PAGE)[number]
    assert len(block.splitlines()) < 20
    alone = block.replace("SECRET)", "SECRET, cluster=None)")
    assert alone != block
    names: dict[str, Any] = {"SECRET": SECRET, "handlers": [read, count]}
    exec(alone.replace("[...]", "handlers, logging_config=None"), names)
    with TestClient(names["app"]) as client:
        assert [counted(client) for _ in range(3)] == [1, 2, 3]
