"""docs/administration.md: its examples run, and what it says of them is so."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from replsession import Cluster, Session, SessionInfo, SessionMiddleware
from tests.browser import Browser, Message, Receive, Send
from tests.channel.running import free_port

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "administration.md").read_text("utf-8")
LOGIN, CALLS, BOUND = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)

pytestmark = pytest.mark.anyio


class Request:
    """What the example of a login is given."""

    def __init__(self, session: Session) -> None:
        self.session = session


def application(login: Any) -> Any:
    """Return an application that logs in at /login and counts elsewhere."""

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        session = scope["session"]
        if scope["path"] == "/login":
            await login(Request(session))
        session["n"] = session.get("n", 0) + 1
        body = str(session["n"]).encode()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})

    return app


async def test_the_examples_run(capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {}
    exec(compile(LOGIN, "login", "exec", dont_inherit=True), names)
    cluster = Cluster.local(port=free_port(), multicast=None)
    app = SessionMiddleware(application(names["login"]), "a-secret", cluster=cluster)
    browsers = [Browser(app) for _ in range(3)]
    try:
        for browser in browsers[:2]:
            await browser.get("/")
            await browser.get("/login")
        await browsers[2].get("/")
        first, second = cluster.sessions_of("anna")
        assert isinstance(first, SessionInfo)
        assert (first.attributes, first.principal) == (("n",), "anna")

        exec(compile(CALLS, "calls", "exec"), {"cluster": cluster, "session_id": second.id})

        # The only one left is nobody's.
        assert capsys.readouterr().out.split()[2] == "None"
        assert (await browsers[0].get("/")).body == b"1"
        assert (await browsers[2].get("/")).body == b"2"
    finally:
        app._channel.stop_thread()


async def test_the_bound_is_an_option() -> None:
    def middleware(kind: Any, **options: Any) -> SessionMiddleware:
        cluster = Cluster.local(port=free_port(), multicast=None)
        made: SessionMiddleware = kind(application(None), cluster=cluster, **options)
        return made

    names = {"Middleware": middleware, "SessionMiddleware": SessionMiddleware, "SECRET": "x"}
    app = eval(compile(BOUND.strip(), "bound", "eval"), names)
    assert app._channel.sessions_max == {"/": 3}
