"""The front door for ASGI where it waits: write concern and freshness, under asyncio and trio."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from typing import Any

import anyio
import anyio.to_thread
import pytest

from replsession import Session, SessionError, SessionMiddleware
from replsession.concern import Concern
from replsession.config import Timing
from replsession.errors import ReplicationTimeout
from replsession.messages import Acknowledge, Deltas, RecordInquiry, StateCredit
from tests.browser import Answer, Application, Browser, Page, Receive, Send, site
from tests.harness import Network
from tests.web.rooms import App, name_of
from tests.web.wired import Wired

pytestmark = pytest.mark.anyio

SECRET = "short"
TIMING = Timing()
DENIAL: dict[str, Any] = {"extensions": {"websocket.http.response": {}}}
Scope = MutableMapping[str, Any]


async def counter(session: Session) -> object:
    session["n"] = session.get("n", 0) + 1
    return dict(session)


async def reader(session: Session) -> object:
    return [dict(session), session.stale]


class Members:
    """Members with an application each, and one browser that goes to any of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *numbers: int) -> None:
        self.wired = Wired(monkeypatch, *numbers)
        self.network: Network = self.wired.network
        self.browser = Browser(site(counter))

    def middleware(self, name: str, app: Application, **options: Any) -> SessionMiddleware:
        """Put the middleware of a member around an application."""
        return SessionMiddleware(app, SECRET, cluster=self.wired.clusters[name], **options)

    async def get(self, name: str, page: Page, path: str = "/", **options: Any) -> Answer:
        """Ask a member for a page."""
        self.browser.app = self.middleware(name, site(page), **options)
        return await self.browser.get(path)

    async def getting(self, name: str, page: Page, then: Callable[[], None], **options: Any) -> Any:
        """Ask for a page, let something happen while that waits, and return the answer."""
        answers: list[Answer] = []

        async def request() -> None:
            answers.append(await self.get(name, page, **options))

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


# Write concern.


@pytest.mark.parametrize("concern", ["one", "majority", "all"])
async def test_a_response_waits_until_its_write_is_held(members: Members, concern: Concern) -> None:
    members.network.hold("m2", Acknowledge)

    def then() -> None:
        members.network.release("m2")

    answer = await members.getting("m1", counter, then, concern=concern)
    assert (answer.status, answer.json()) == (200, {"n": 1})
    assert answer.cookie is not None
    assert (await members.get("m2", reader)).json() == [{"n": 1}, False]


async def test_a_response_that_only_reads_waits_for_nobody(members: Members) -> None:
    await members.get("m1", counter)
    members.network.hold("m2")

    assert (await members.get("m1", reader, concern="all")).json() == [{"n": 1}, False]


async def test_without_a_concern_nobody_is_waited_for(members: Members) -> None:
    members.network.hold("m2")

    assert (await members.get("m1", counter)).status == 200


async def test_a_shortfall_is_answered_with_503_and_the_cookie(members: Members) -> None:
    members.network.hold("m2", Acknowledge)

    def then() -> None:
        members.network.run(1.0)

    answer = await members.getting("m1", counter, then, concern="all")
    assert answer.status == 503
    assert answer.values("retry-after") == ["1"]
    assert answer.values("cache-control") == ["no-store"]
    assert answer.body == (
        b"503 Service Unavailable: write concern 'all': 0 of 1 other members hold the write, "
        b"missing: m2; it is kept, and replicated later. Please try again.\n"
    )
    # The write is not undone, so its client must be able to come back to it.
    assert answer.cookie is not None
    assert (await members.get("m1", reader)).json() == [{"n": 1}, False]


async def test_where_nobody_can_hold_it_it_fails_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    members = Members(monkeypatch, 1)
    before = members.network.now
    answer = await members.get("m1", counter, concern="one", ack_timeout_s=60)

    assert (answer.status, members.network.now) == (503, before)
    assert b"no further member is up" in answer.body
    assert (await members.get("m1", counter, concern="all")).json() == {"n": 2}
    expected: dict[str, Any] = {"concern": "majority", "expected_members": 3}
    assert (await members.get("m1", counter, **expected)).status == 503


async def test_a_warning_lets_the_response_start(
    members: Members, caplog: pytest.LogCaptureFixture
) -> None:
    members.network.hold("m2", Acknowledge)

    def then() -> None:
        members.network.run(0.25)

    options = {"concern": "all", "on_shortfall": "warn", "ack_timeout_s": 0.25}
    answer = await members.getting("m1", counter, then, **options)
    assert (answer.status, answer.json()) == (200, {"n": 1})
    assert answer.cookie is not None
    (line,) = caplog.messages
    assert line.startswith("A response to '/' started without its write concern 'all': 0 of 1")


def streaming(seen: list[str]) -> Application:
    """A stream that writes on while it is sent, whether somebody gets it or not."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scope["session"]["at"] = 0
        own = [(b"x-own", b"secret"), (b"set-cookie", b"own=1; path=/")]
        await send({"type": "http.response.start", "status": 200, "headers": own})
        for number in (1, 2):
            scope["session"]["at"] = number
            await send({"type": "http.response.body", "body": b"page", "more_body": number == 1})
        seen.append("end")
        scope["session"]["end"] = True

    return app


async def test_after_a_refusal_nobody_gets_what_the_application_sends(members: Members) -> None:
    seen: list[str] = []
    sent: list[Any] = []
    middleware = members.middleware("m1", streaming(seen), concern="one", ack_timeout_s=0.5)
    members.network.hold("m2")

    async def send(message: Any) -> None:
        sent.append(message)

    async def never() -> Any:
        raise AssertionError("nobody asked")

    async with anyio.create_task_group() as group:
        group.start_soon(middleware, members.browser.scope("http", "/"), never, send)
        await anyio.wait_all_tasks_blocked()
        assert sent == []
        members.network.run(0.5)

    start, body = sent
    assert (start["type"], start["status"], body["type"]) == (
        "http.response.start",
        503,
        "http.response.body",
    )
    names = [name for name, _ in start["headers"]]
    assert b"x-own" not in names
    assert names.count(b"set-cookie") == 2, "its own cookies are of what it did, and that stays"
    assert b"page" not in body["body"]
    # It ran to its end, and what it wrote is kept.
    assert seen == ["end"]
    (record,) = members.network.nodes["m1"].store.records()
    assert sorted(record.values()) == ["at", "end"]


async def test_an_application_that_fails_after_a_refusal_fails(members: Members) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scope["session"]["a"] = 1
        await send({"type": "http.response.start", "status": 200, "headers": []})
        scope["session"]["b"] = 2
        raise RuntimeError("page")

    members.network.kill("m2")
    members.browser.app = members.middleware("m1", app, concern="one")
    with pytest.raises(RuntimeError, match="page"):
        await members.browser.get()

    assert (await members.get("m1", reader)).json() == [{"a": 1, "b": 2}, False]


async def test_many_responses_wait_at_once(members: Members) -> None:
    members.network.hold("m2", Acknowledge)
    browsers = [Browser(members.middleware("m1", site(counter), concern="all")) for _ in range(20)]
    answers: list[Answer] = []

    async def request(browser: Browser) -> None:
        answers.append(await browser.get())

    async with anyio.create_task_group() as group:
        for browser in browsers:
            group.start_soon(request, browser)
        await anyio.wait_all_tasks_blocked()
        assert answers == []
        members.network.release("m2")

    assert [answer.status for answer in answers] == [200] * 20


async def test_a_request_that_is_cancelled_while_it_waits_is_cancelled(members: Members) -> None:
    members.network.hold("m2", Acknowledge)
    members.browser.app = members.middleware("m1", site(counter), concern="all")
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:
            group.start_soon(members.browser.get)
            await anyio.wait_all_tasks_blocked()
            scope.cancel()
    members.network.release("m2")

    assert len(list(members.network.nodes["m2"].store.records())) == 1
    assert (await members.get("m1", counter, concern="all")).status == 200


async def greeting(scope: Scope, receive: Receive, send: Send) -> None:
    """A websocket that says something as soon as it is accepted."""
    await receive()
    scope["session"]["n"] = 1
    await send({"type": "websocket.accept", "headers": [(b"x", b"y")]})
    await send({"type": "websocket.send", "text": "hello"})
    await send({"type": "websocket.close"})


async def test_a_websocket_is_accepted_when_its_write_is_held(members: Members) -> None:
    members.browser.app = members.middleware("m1", greeting, concern="all")
    async with members.browser.websocket() as end:
        assert [(await end.hear())["type"] for _ in range(3)] == [
            "websocket.accept",
            "websocket.send",
            "websocket.close",
        ]
    assert end.accepted is not None and end.accepted.cookie is not None


@pytest.mark.parametrize("may_be_denied", [True, False])
async def test_a_websocket_is_refused_before_it_is_accepted(
    members: Members, may_be_denied: bool
) -> None:
    members.network.kill("m2")
    members.browser.app = members.middleware("m1", greeting, concern="one")
    sent: list[Any] = []
    async with members.browser.websocket(**(DENIAL if may_be_denied else {})) as end:
        sent.append(await end.hear())
        if may_be_denied:
            sent.append(await end.hear())

    assert end.accepted is None
    if not may_be_denied:
        assert sent == [{"type": "websocket.close", "code": 1013, "reason": ""}]
        return
    start, body = sent
    assert (start["type"], start["status"]) == ("websocket.http.response.start", 503)
    headers = dict(start["headers"])
    assert (headers[b"retry-after"], b"set-cookie" in headers) == (b"1", True)
    assert b"write concern 'one'" in body["body"]
    assert len(list(members.network.nodes["m1"].store.records())) == 1


# The session's own commit.


async def test_a_page_may_wait_for_its_commit(members: Members) -> None:
    held: list[bool] = []

    async def page(session: Session) -> object:
        session["n"] = 1
        await session.commit("all")
        held.append(len(members.network.nodes["m2"].store) == 1)
        return None

    members.network.hold("m1", Deltas)

    def then() -> None:
        members.network.release("m1")
        members.network.run(TIMING.acknowledge_within_s)

    answer = await members.getting("m1", page, then)
    assert (answer.status, held) == (200, [True])
    assert (await members.get("m2", reader)).json() == [{"n": 1}, False]


async def test_a_page_may_ask_for_more_than_before(members: Members) -> None:
    async def page(session: Session) -> object:
        session["n"] = 1
        await session.commit()
        await session.commit("one")
        session["n"] = 2
        await session.commit("all")
        await session.commit("majority")
        return None

    assert (await members.get("m1", page)).status == 200
    metrics = members.network.nodes["m1"].metrics
    assert (metrics.commits, metrics.commits_waited, metrics.commits_short) == (2, 3, 0)


async def test_a_page_decides_what_a_shortfall_means(members: Members) -> None:
    async def page(session: Session) -> object:
        session["n"] = 1
        try:
            await session.commit("all")
        except ReplicationTimeout as error:
            return [error.concern, error.needed, error.acknowledged, error.missing]
        return "held"

    members.network.hold("m2", Acknowledge)

    def then() -> None:
        members.network.run(1.0)

    answer = await members.getting("m1", page, then)
    assert (answer.status, answer.json()) == (200, ["all", 1, [], ["m2"]])
    assert answer.cookie is not None
    assert (await members.get("m2", reader)).json() == [{"n": 1}, False]


async def test_what_a_page_does_not_catch_is_its_error(members: Members) -> None:
    async def page(session: Session) -> object:
        session["n"] = 1
        await session.commit("one")
        return None

    members.network.kill("m2")
    with pytest.raises(ReplicationTimeout, match="no further member is up"):
        await members.get("m1", page)


async def test_a_plain_function_waits_in_its_thread(members: Members) -> None:
    async def page(session: Session) -> object:
        session["n"] = 1
        with pytest.raises(SessionError, match="use await commit"):
            session.commit_blocking("all")
        await anyio.to_thread.run_sync(session.commit_blocking, "all")
        return len(members.network.nodes["m2"].store)

    assert (await members.get("m1", page)).json() == 1


async def test_a_commit_while_streaming_is_waited_for(members: Members) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        scope["session"]["late"] = True
        await scope["session"].commit("all")
        (record,) = members.network.nodes["m2"].store.records()
        body = b"held" if "late" in record.values() else b"not held"
        await send({"type": "http.response.body", "body": body})

    await members.get("m1", counter)
    members.browser.app = members.middleware("m1", app)

    assert (await members.browser.get()).body == b"held"


# Freshness.


async def test_a_browser_sees_what_it_wrote_on_every_member(members: Members) -> None:
    members.network.hold("m1", Deltas)
    await members.get("m1", counter)
    await members.get("m1", counter)

    def then() -> None:
        members.network.release("m1")

    answer = await members.getting("m2", reader, then)
    assert answer.json() == [{"n": 2}, False]
    assert answer.cookie is None


async def behind(members: Members) -> None:
    """Let the browser write where the second member will not hear of it."""
    await members.get("m1", counter)
    members.network.part("m1", "m2")
    await members.get("m1", counter)


async def test_what_is_stale_is_served_and_flagged_once(members: Members) -> None:
    await behind(members)
    before = members.browser.cookie

    def then() -> None:
        members.network.run(TIMING.fresh_timeout_s)

    answer = await members.getting("m2", reader, then)
    assert answer.json() == [{"n": 1}, True]
    assert name_of(answer.cookie) == name_of(before)
    assert answer.cookie != before
    again = await members.get("m2", reader)
    assert (again.json(), again.cookie) == ([{"n": 1}, False], None)


async def test_what_is_stale_is_refused_and_the_next_try_passes(members: Members) -> None:
    await behind(members)
    before = members.browser.cookie
    called: list[Session] = []

    async def page(session: Session) -> object:
        called.append(session)
        return dict(session)

    def then() -> None:
        members.network.run(TIMING.fresh_timeout_s)

    answer = await members.getting("m2", page, then, stale="error")
    assert (answer.status, called) == (503, [])
    assert answer.values("retry-after") == ["1"]
    assert b"does not have the newest state of your session" in answer.body
    assert answer.cookie not in (None, before)
    again = await members.get("m2", page, stale="error")
    assert (again.status, again.json(), again.cookie) == (200, {"n": 1}, None)


async def test_a_websocket_is_not_served_what_is_stale(members: Members) -> None:
    await behind(members)
    members.browser.app = members.middleware("m2", greeting, stale="error")
    async with members.browser.websocket() as end:
        await anyio.wait_all_tasks_blocked()
        members.network.run(TIMING.fresh_timeout_s)
        closed = await end.hear()

    assert (closed["type"], closed["code"], end.accepted) == ("websocket.close", 1013, None)


async def test_a_filtered_path_waits_for_nobody(members: Members) -> None:
    await behind(members)
    for stale in ("serve", "error"):
        assert (await members.get("m2", nothing, "/logo.png", stale=stale)).status == 200
    answer = await members.get("m2", reader, "/logo.png")
    assert answer.json() == [{"n": 1}, True]


async def nothing(session: Session) -> object:
    return None


async def test_a_joiner_calls_no_session_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    members = Members(monkeypatch, 1)
    await members.get("m1", counter)
    members.network.part("m1", "m2")
    members.wired.add(2)

    def then() -> None:
        members.network.meet("m1", "m2")
        members.network.run(1.5)

    assert (await members.getting("m2", reader, then)).json() == [{"n": 1}, False]


async def test_a_joiner_that_gets_no_state_answers_503(monkeypatch: pytest.MonkeyPatch) -> None:
    members = Members(monkeypatch, 1)
    for _ in range(3):
        members.wired.app("m1").born(x=bytes(100_000))
    members.browser.cookie = App().born(n=1)
    members.network.hold("m2", StateCredit, RecordInquiry)
    members.wired.add(2)
    members.network.run(0.3)

    def then() -> None:
        members.network.run(TIMING.join_wait_s)

    answer = await members.getting("m2", counter, then)
    assert answer.status == 503
    assert b"this member is still receiving the sessions of the others" in answer.body
    assert (answer.values("retry-after"), answer.cookie) == (["1"], None)


# Tokens on pages and in cookies.


async def test_a_page_that_only_reads_may_print_a_token(members: Members) -> None:
    async def links(session: Session) -> object:
        return [session.url_token, session.url_token]

    await members.get("m1", counter)
    metrics = members.network.nodes["m1"].metrics
    commits = metrics.commits
    answer = await members.get("m1", links)
    printed, again = answer.json()
    assert (printed, answer.cookie) == (again, None)
    assert metrics.commits == commits + 1
    members.browser.cookie = None
    found = await members.get("m2", reader, f"/;jsessionid={printed}", url_tracking=True)
    assert found.json() == [{"n": 1}, False]


async def test_a_page_that_writes_prints_a_token_that_covers_it(members: Members) -> None:
    async def links(session: Session) -> object:
        printed = session.url_token
        session["n"] = 2
        return printed

    await members.get("m1", counter)
    members.network.hold("m1", Deltas)
    printed = (await members.get("m1", links)).json()
    members.browser.cookie = None
    members.browser.app = members.middleware("m2", site(reader), url_tracking=True)
    answers: list[Answer] = []

    async def request() -> None:
        answers.append(await members.browser.get(f"/;jsessionid={printed}"))

    async with anyio.create_task_group() as group:
        group.start_soon(request)
        await anyio.wait_all_tasks_blocked()
        assert answers == []
        members.network.release("m1")

    assert answers[0].json() == [{"n": 2}, False]


@pytest.mark.parametrize(
    ("act", "is_sent"),
    [
        (lambda s: None, False),
        (lambda s: s.get("n"), False),
        (lambda s: s.stale, False),
        (lambda s: s.url_token, False),
        (lambda s: s.__setitem__("n", 2), True),
        (lambda s: s.rotate_id(), True),
    ],
)
async def test_only_a_response_that_changed_something_sends_a_cookie(
    members: Members, act: Callable[[Session], object], is_sent: bool
) -> None:
    async def page(session: Session) -> object:
        act(session)
        return None

    await members.get("m1", counter)
    for name in ("m1", "m2"):
        assert ((await members.get(name, page)).cookie is not None) is is_sent
