"""FastAPI: the session as a dependency, in functions, coroutines, streams and websockets."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any

import pytest
from fastapi import BackgroundTasks, Depends, FastAPI, WebSocket
from fastapi.requests import HTTPConnection
from fastapi.responses import StreamingResponse
from fastapi.security import APIKeyCookie
from fastapi.testclient import TestClient

from replsession import Session, SessionMiddleware
from tests.test_package import ROOT, python_blocks

PAGE = (ROOT / "docs" / "fastapi.md").read_text(encoding="utf-8")


def get_session(connection: HTTPConnection) -> Session:
    """Return the session, for dependencies."""
    session = connection.session
    assert isinstance(session, Session)
    return session


Injected = Annotated[Session, Depends(get_session)]


async def late(session: Injected) -> AsyncIterator[Session]:
    """Write after the response, in a dependency."""
    yield session
    session["dependency"] = True


def application() -> FastAPI:
    """Return an application that uses its session in all ways."""
    app = FastAPI()
    app.add_middleware(SessionMiddleware, secret_key="short", cluster=None)

    @app.get("/")
    async def read(session: Injected) -> dict[str, Any]:
        return dict(session)

    @app.get("/itself")
    async def itself(session: Injected) -> Any:
        return session

    @app.post("/plain")
    def plain(session: Injected) -> bool:
        session.setdefault("cart", []).append(1)
        session.commit_blocking()
        return session.is_new

    @app.post("/login")
    async def login(session: Injected) -> None:
        session["user"] = "anna"
        session.rotate_id()

    @app.post("/logout")
    async def logout(session: Injected) -> None:
        session.invalidate()

    @app.post("/later")
    async def later(tasks: BackgroundTasks, session: Annotated[Session, Depends(late)]) -> None:
        tasks.add_task(session.update, task=True)

    @app.post("/stream")
    async def stream(session: Injected) -> StreamingResponse:
        def chunks() -> Iterator[bytes]:
            session["streamed"] = True
            yield b"x"

        return StreamingResponse(chunks())

    @app.websocket("/socket")
    async def socket(socket: WebSocket, session: Injected) -> None:
        await socket.accept()
        session["socket"] = session.get("socket", 0) + 1
        await socket.send_json(session["socket"])
        await socket.close()

    return app


@pytest.fixture
def client() -> Iterator[TestClient]:
    """A browser of the application."""
    with TestClient(application()) as client:
        yield client


def test_all_ways(client: TestClient) -> None:
    assert client.get("/").json() == {}
    assert "session" not in client.cookies
    assert client.post("/plain").json() is True
    assert client.post("/plain").json() is False
    first = client.cookies["session"]
    client.post("/login")
    assert client.cookies["session"][:39] != first[:39]
    client.post("/later")
    client.post("/stream")
    for number in (1, 2):
        with client.websocket_connect("/socket") as socket:
            assert socket.receive_json() == number
    everything = {
        "cart": [1, 1],
        "user": "anna",
        "task": True,
        "dependency": True,
        "streamed": True,
        "socket": 2,
    }
    assert client.get("/").json() == everything
    assert client.get("/itself").json() == everything
    client.post("/logout")
    assert client.get("/").json() == {}


def test_the_cookie_may_stand_in_the_document() -> None:
    app = application()

    @app.get("/documented", dependencies=[Depends(APIKeyCookie(name="session", auto_error=False))])
    async def documented(session: Injected) -> None:
        session["n"] = 1

    with TestClient(app) as client:
        schemes = client.get("/openapi.json").json()["components"]["securitySchemes"]
        assert schemes["APIKeyCookie"] == {"type": "apiKey", "in": "cookie", "name": "session"}
        client.get("/documented")
        assert client.get("/").json() == {"n": 1}


def test_the_example_of_the_page_runs() -> None:
    (block,) = python_blocks(PAGE)
    assert len(block.splitlines()) < 20
    alone = block.replace("secret_key=SECRET", "secret_key=SECRET, cluster=None")
    assert alone != block
    names: dict[str, Any] = {"SECRET": "of this test alone"}
    exec(alone, names)
    with TestClient(names["app"]) as client:
        assert [client.post("/count").json() for _ in range(3)] == [1, 2, 3]
