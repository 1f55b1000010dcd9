"""The front door for Quart: what is different from Flask's, which shares the rest."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, cast

import anyio
import pytest
import quart
from quart import Quart
from werkzeug.exceptions import ServiceUnavailable

from replsession import Cluster, ConfigError
from replsession.config import Timing
from replsession.messages import Acknowledge, RecordInquiry, StateCredit
from replsession.quart import QuartSession, ReplicatedSession, encode_url
from replsession.web.configured import ConfiguredApplication
from tests.browser import Answer, Application, Browser, lifespan
from tests.channel.running import free_port
from tests.web.rooms import App, name_of, without_seen
from tests.web.wired import Wired

SECRET = "short"
DENIAL: dict[str, Any] = {"extensions": {"websocket.http.response": {}}}

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    """Quart runs on asyncio."""
    return "asyncio"


def made(**config: Any) -> Quart:
    """Return an application of one process alone, with a counter."""
    app = Quart(__name__)
    app.config |= {"SECRET_KEY": SECRET, "REPLSESSION_CLUSTER": "none", **config}
    ReplicatedSession(app)
    app.add_url_rule("/counter", view_func=counter)
    app.add_url_rule("/content", view_func=content)
    app.add_url_rule("/links", view_func=links)
    return app


async def counter() -> dict[str, Any]:
    quart.session["n"] = quart.session.get("n", 0) + 1
    return dict(quart.session)


async def content() -> dict[str, Any]:
    return dict(quart.session)


async def links() -> list[str]:
    quart.session["n"] = 1
    page = "{{ encode_url(url_for('links')) }}"
    return [encode_url(quart.url_for("links")), await quart.render_template_string(page)]


def asgi(app: Quart) -> Application:
    """Return an application with the types that our browser knows."""
    return cast("Application", app)


def extension(app: Quart) -> ConfiguredApplication:
    configured = app.extensions["replsession"]
    assert isinstance(configured, ConfiguredApplication)
    return configured


def count(app: Quart) -> int:
    application = extension(app).application
    assert application is not None
    records = application.channel.member.node.store.records()
    return sum(record.destroyed is None for record in records)


async def said(client: Any, path: str) -> Any:
    """Return what a page says."""
    return await (await client.get(path)).get_json()


async def test_a_counter_counts() -> None:
    app = made()
    client = app.test_client()
    assert [(await said(client, "/counter"))["n"] for _ in range(3)] == [1, 2, 3]
    assert await said(app.test_client(), "/counter") == {"n": 1}


async def test_session_transactions_read_and_write() -> None:
    client = made().test_client()
    async with client.session_transaction() as session:
        session["n"] = 5
        session.permanent = True
    assert await said(client, "/counter") == {"_permanent": True, "n": 6}
    async with client.session_transaction() as session:
        assert session["n"] == 6
        assert isinstance(session, QuartSession)
        assert session.max_inactive_interval == 31 * 24 * 3600


async def test_a_permanent_session_has_a_date_and_is_renewed() -> None:
    client = made().test_client()
    async with client.session_transaction() as session:
        session["n"] = 5
        session.permanent = True
    answer = await client.get("/content")
    assert "Expires=" in answer.headers["Set-Cookie"]
    assert answer.headers.getlist("Vary") == ["Cookie"]


async def test_reading_sends_no_cookie() -> None:
    app = made()
    answer = await app.test_client().get("/content")
    assert "Set-Cookie" not in answer.headers
    assert answer.headers["Vary"] == "Cookie"
    assert count(app) == 0


async def test_without_a_secret_key_it_says_so() -> None:
    app = made(SECRET_KEY=None)
    app.testing = True
    answer = await app.test_client().get("/counter")
    assert answer.status_code == 500
    assert "no secret key was set" in await answer.get_data(as_text=True)


async def test_the_member_lives_on_the_loop_from_before_to_after() -> None:
    cluster = Cluster.local(port=free_port(), multicast=None)
    app = made(REPLSESSION_CLUSTER=cluster)
    states: list[str] = []
    app.before_serving(lambda: states.append(cluster.state))
    app.after_serving(lambda: states.append(cluster.state))
    async with lifespan(asgi(app)) as said:
        assert said.kinds == ["startup.complete"]
        channel = cluster.attach(SECRET, required=False)
        assert channel._thread is None
    assert said.kinds == ["startup.complete", "shutdown.complete"]
    assert len(states) == 2
    assert "not started" not in states and "stopped" not in states
    assert cluster.state == "stopped"


async def test_a_wrong_setting_stops_the_start() -> None:
    async with lifespan(asgi(made(REPLSESSION_STALE="x"))) as said:
        assert said.kinds == ["startup.failed"]
        assert "REPLSESSION_STALE" in said.sent[0]["message"]


async def test_an_option_that_is_not_known_is_refused() -> None:
    with pytest.raises(ConfigError, match="contexts"):
        ReplicatedSession(Quart(__name__), contexts="/")  # type: ignore[call-arg]


async def test_what_is_written_while_streaming_and_after_it_is_kept() -> None:
    app = made()

    @app.route("/stream")
    async def stream() -> quart.Response:
        @quart.stream_with_context
        async def chunks() -> AsyncIterator[str]:
            yield "a"
            quart.session["late"] = True
            yield "b"
            quart.session["last"] = True

        return quart.Response(chunks())

    browser = Browser(asgi(app))
    await browser.get("/counter")
    assert (await browser.get("/stream")).body == b"ab"
    assert (await browser.get("/content")).json() == {"n": 1, "late": True, "last": True}


async def test_a_websocket_that_begins_a_session_brings_the_cookie() -> None:
    app = made()

    @app.websocket("/ws")
    async def ws() -> None:
        quart.session["n"] = 7
        await quart.websocket.accept()
        quart.session["late"] = True
        await quart.websocket.send("x")

    browser = Browser(asgi(app))
    async with browser.websocket("/ws") as socket:
        assert [(await socket.hear())["type"] for _ in range(2)] == [
            "websocket.accept",
            "websocket.send",
        ]
    assert browser.cookie is not None
    assert (await browser.get("/content")).json() == {"n": 7, "late": True}


async def test_a_websocket_that_is_given_up_keeps_what_it_wrote() -> None:
    app = made()

    @app.websocket("/ws")
    async def ws() -> None:
        await quart.websocket.accept()
        quart.session["late"] = True
        await quart.websocket.receive()

    browser = Browser(asgi(app))
    await browser.get("/counter")
    async with browser.websocket("/ws") as socket:
        await socket.hear()
    assert (await browser.get("/content")).json() == {"n": 1, "late": True}


async def test_a_url_carries_a_session_before_the_routing() -> None:
    app = made(REPLSESSION_URL_TRACKING=True)
    answer = await Browser(asgi(app)).get("/links")
    encoded = answer.json()
    wanted = f"/links;jsessionid={name_of(answer.cookie)}"
    assert [without_seen(url) for url in encoded] == [wanted] * 2
    second = await Browser(asgi(app)).get(encoded[0].replace("links", "counter"))
    assert (second.json(), second.cookie) == ({"n": 2}, None)


# Waiting.


class Members:
    """Members with a Quart application each, and one browser that goes to any of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *numbers: int) -> None:
        self.wired = Wired(monkeypatch, *numbers)
        self.network = self.wired.network
        self.browser = Browser(asgi(made()))

    def app(self, name: str, **config: Any) -> Quart:
        """Return the application of a member."""
        app = made(REPLSESSION_CLUSTER=self.wired.clusters[name], **config)

        @app.websocket("/ws")
        async def ws() -> None:
            quart.session["socket"] = True
            await quart.websocket.accept()
            await quart.websocket.send("x")

        @app.errorhandler(503)
        async def our_page(error: ServiceUnavailable) -> tuple[str, int]:
            quart.session.setdefault("_flashes", [])
            return f"our page: {error.description}", 503

        self.browser.app = asgi(app)
        return app

    async def get(self, name: str, path: str, **config: Any) -> Answer:
        """Ask a member for a page."""
        self.app(name, **config)
        return await self.browser.get(path)

    async def getting(self, name: str, path: str, then: Any, **config: Any) -> Answer:
        """Ask for a page, let something happen while that waits, and return the answer."""
        answers: list[Answer] = []

        async def request() -> None:
            answers.append(await self.get(name, path, **config))

        async with anyio.create_task_group() as group:
            group.start_soon(request)
            await anyio.wait_all_tasks_blocked()
            assert answers == [], "it does not wait"
            then()
        return answers[0]


@pytest.fixture
def members(monkeypatch: pytest.MonkeyPatch) -> Members:
    """Two members that are ready."""
    return Members(monkeypatch, 1, 2)


async def test_a_response_waits_until_its_write_is_held(members: Members) -> None:
    members.network.hold("m2", Acknowledge)
    release = lambda: members.network.release("m2")  # noqa: E731
    answer = await members.getting("m1", "/counter", release, REPLSESSION_CONCERN="all")
    assert (answer.status, answer.json()) == (200, {"n": 1})
    assert (await members.get("m2", "/content")).json() == {"n": 1}


async def test_a_shortfall_is_answered_with_503_and_the_cookie(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    members = Members(monkeypatch, 1)
    answer = await members.get("m1", "/counter", REPLSESSION_CONCERN="one")
    assert answer.status == 503
    assert answer.body.startswith(b"503 Service Unavailable: write concern 'one'")
    assert answer.values("content-length") == [str(len(answer.body))]
    assert (await members.get("m1", "/content")).json() == {"n": 1}


async def test_a_websocket_with_a_shortfall_is_not_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    members = Members(monkeypatch, 1)
    members.app("m1", REPLSESSION_CONCERN="one")
    async with members.browser.websocket("/ws") as socket:
        closed = await socket.hear()
    assert (closed["type"], closed["code"]) == ("websocket.close", 1013)
    assert socket.accepted is None


async def test_what_can_not_be_had_in_time_is_refused(members: Members) -> None:
    await members.get("m1", "/counter")
    members.network.hold("m1")
    await members.get("m1", "/counter")
    run = lambda: members.network.run(Timing().fresh_timeout_s)  # noqa: E731
    answer = await members.getting("m2", "/content", run, REPLSESSION_STALE="error")
    assert answer.status == 503
    assert answer.body.startswith(b"our page: this member does not have the newest state")
    again = await members.get("m2", "/content", REPLSESSION_STALE="error")
    assert again.json()["n"] == 1


async def test_a_joiner_without_state_begins_no_session(monkeypatch: pytest.MonkeyPatch) -> None:
    members = Members(monkeypatch, 1)
    for _ in range(3):
        members.wired.app("m1").born(x=bytes(100_000))
    members.browser.cookie = App().born(n=1)
    members.network.hold("m2", StateCredit, RecordInquiry)
    members.wired.add(2)
    members.network.run(0.3)
    run = lambda: members.network.run(Timing().join_wait_s)  # noqa: E731
    answer = await members.getting("m2", "/counter", run)
    assert (answer.status, answer.cookie) == (503, None)
    assert b"still receiving" in answer.body


async def test_the_scope_says_whether_the_session_was_served_here_last() -> None:
    app = made(REPLSESSION_PRIMARY_INDICATOR="primary")
    told: list[object] = []

    @app.before_request
    async def tell() -> None:
        told.append(cast("Any", quart.request.scope).get("primary"))

    browser = Browser(asgi(app))
    await browser.get("/counter")
    await browser.get("/counter")
    assert told == [None, True]
