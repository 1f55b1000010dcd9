"""The front door for ASGI: settings, http, websocket and lifespan, under asyncio and trio."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

import anyio
import pytest
from starlette.datastructures import Secret

from replsession import (
    Cluster,
    ConfigError,
    Session,
    SessionError,
    SessionMiddleware,
    UnserializableAttribute,
)
from replsession.channel import member as member_module
from replsession.web.valve import Valve
from tests.browser import Application, Browser, Message, Receive, Send, site
from tests.channel.running import free_port, some_group
from tests.web.rooms import name_of, without_seen
from tests.web.test_manager import Clock

SECRET = "short"
Scope = MutableMapping[str, Any]

pytestmark = pytest.mark.anyio


def alone(app: Application, **options: Any) -> SessionMiddleware:
    """Put the middleware around an application of one process alone."""
    return SessionMiddleware(app, **{"secret_key": SECRET, "cluster": None, **options})


async def counter(session: Session) -> object:
    session["n"] = session.get("n", 0) + 1
    return dict(session)


async def reader(session: Session) -> object:
    return dict(session)


async def nothing(session: Session) -> object:
    return None


def metrics_of(middleware: SessionMiddleware) -> dict[str, int]:
    return middleware._behind.manager.metrics.as_dict()


def records_of(middleware: SessionMiddleware) -> list[Mapping[str, bytes]]:
    store = middleware._channel.member.node.store
    return [record.values() for record in store.records() if record.destroyed is None]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock that is put in the place of that of members."""
    moved = Clock()
    monkeypatch.setattr(member_module, "time", moved)
    return moved


# Settings.


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"secret_key": ""}, "secret_key"),
        ({"secret_key": None}, "secret_key"),
        ({"secret_key": []}, "secret_key"),
        ({"secret_key": ["a", b"b"]}, "secret_key"),
        ({"session_cookie": "a b"}, "session_cookie"),
        ({"session_cookie": 5}, "session_cookie"),
        ({"session_cookie": "__Host-s"}, "https_only"),
        ({"max_age": "60"}, "max_age"),
        ({"max_age": 1.5}, "max_age"),
        ({"path": "/;x"}, "path"),
        ({"same_site": "loose"}, "same_site"),
        ({"https_only": 1}, "https_only"),
        ({"domain": "a\r\nb"}, "domain"),
        ({"partitioned": None}, "partitioned"),
        ({"cluster": "local"}, "cluster"),
        ({"cluster": Cluster}, "cluster"),
        ({"context": "shop"}, "context"),
        ({"max_inactive_interval": 0}, "max_inactive_interval"),
        ({"lifetime": -1}, "lifetime"),
        ({"url_tracking": "yes"}, "url_tracking"),
        ({"valve": "["}, "valve"),
        ({"valve": 5}, "valve"),
        ({"listeners": [object()]}, "listeners"),
        ({"notify_listeners_on_replication": 0}, "notify_listeners_on_replication"),
        ({"expire_sessions_on_shutdown": "no"}, "expire_sessions_on_shutdown"),
        ({"required": None}, "required"),
        ({"max_sessions_per_principal": 0}, "max_sessions_per_principal"),
        ({"max_sessions_per_principal": 1.0}, "max_sessions_per_principal"),
        ({"concern": "some"}, "concern"),
        ({"concern": None}, "concern"),
        ({"concern": 1}, "concern"),
        ({"ack_timeout_s": 0}, "ack_timeout_s"),
        ({"ack_timeout_s": 61}, "ack_timeout_s"),
        ({"ack_timeout_s": "1"}, "ack_timeout_s"),
        ({"on_shortfall": "ignore"}, "on_shortfall"),
        ({"on_shortfall": None}, "on_shortfall"),
        ({"expected_members": 0}, "expected_members"),
        ({"expected_members": 2.0}, "expected_members"),
        ({"stale": "warn"}, "stale"),
        ({"stale": True}, "stale"),
    ],
)
async def test_a_wrong_setting_is_named(options: dict[str, Any], field: str) -> None:
    with pytest.raises(ConfigError) as caught:
        alone(site(nothing), **options)
    assert caught.value.field == field
    assert f"{field}: got " in str(caught.value)
    assert "; allowed: " in str(caught.value)


def test_the_first_arguments_may_be_given_by_position() -> None:
    middleware = SessionMiddleware(
        site(nothing), SECRET, "sid", None, "/a", "strict", True, "here", True, cluster=None
    )
    assert middleware._cookies.set("x").decode() == (
        "sid=x; path=/a; httponly; samesite=strict; secure; domain=here; partitioned"
    )


def test_making_it_starts_nothing() -> None:
    cluster = Cluster.local(port=free_port())
    SessionMiddleware(site(nothing), SECRET, cluster=cluster, required=True)
    assert (cluster.state, cluster.members, cluster.is_ready) == ("not started", (), False)


async def test_the_default_cluster_is_that_of_this_host() -> None:
    middleware = SessionMiddleware(site(nothing), "the-secret-of-this-test-alone")
    assert middleware._channel is Cluster.local().attach(
        "the-secret-of-this-test-alone", required=False
    )


@pytest.mark.parametrize("secret", ["x", Secret("x"), ["x"], ("x", "y")])
async def test_a_short_secret_will_do(secret: Any) -> None:
    browser = Browser(alone(site(counter), secret_key=secret))
    assert [(await browser.get()).json()["n"] for _ in range(3)] == [1, 2, 3]


async def test_with_a_list_of_secrets_the_first_signs_and_all_verify() -> None:
    cluster = Cluster.local(secret="of the cluster", port=free_port(), multicast=some_group())

    def with_secrets(*secrets: str) -> SessionMiddleware:
        return SessionMiddleware(site(counter), list(secrets), cluster=cluster)

    try:
        browser = Browser(with_secrets("old"))
        await browser.get()
        old_token = browser.cookie
        browser.app = with_secrets("new", "old")
        assert (await browser.get()).json() == {"n": 2}
        # The answer brought it signed by the first, so the old secret may be retired.
        assert browser.cookie != old_token
        browser.app = with_secrets("new")
        assert (await browser.get()).json() == {"n": 3}
        browser.cookie = old_token
        assert (await browser.get()).json() == {"n": 1}
    finally:
        browser.app._channel.stop_thread()  # type: ignore[attr-defined]


async def test_two_applications_of_one_cluster_keep_their_sessions_apart() -> None:
    cluster = Cluster.local(secret="of both", port=free_port(), multicast=some_group())
    shop = SessionMiddleware(site(counter), SECRET, cluster=cluster, context="/shop")
    blog = SessionMiddleware(site(counter), SECRET, cluster=cluster, context="/blog")
    try:
        browser = Browser(shop)
        await browser.get()
        browser.app = blog
        assert (await browser.get()).json() == {"n": 1}
        assert shop._channel is blog._channel
    finally:
        shop._channel.stop_thread()


# http.


async def test_a_counter_counts() -> None:
    browser = Browser(alone(site(counter)))
    answers = [await browser.get() for _ in range(3)]
    assert [answer.json() for answer in answers] == [{"n": 1}, {"n": 2}, {"n": 3}]
    assert len({name_of(answer.cookie) for answer in answers}) == 1
    # Each says what the client has seen by then.
    assert len({answer.cookie for answer in answers}) == 3


async def test_each_request_has_its_own_copy() -> None:
    seen: list[Session] = []

    async def page(session: Session) -> object:
        session.setdefault("cart", []).append(1)
        seen.append(session)
        return session

    browser = Browser(alone(site(page)))
    for _ in range(2):
        await browser.get()
    assert seen[0]["cart"] is not seen[1]["cart"]
    assert [len(session["cart"]) for session in seen] == [1, 2]


async def test_the_session_is_a_session_and_a_dict() -> None:
    async def page(session: Session) -> object:
        assert isinstance(session, Session)
        assert isinstance(session, dict)
        return session.id

    assert (await Browser(alone(site(page))).get()).json() is None


async def test_an_untouched_session_leaves_no_trace() -> None:
    middleware = alone(site(nothing))
    browser = Browser(middleware)
    assert (await browser.get()).headers == []
    assert records_of(middleware) == []


@pytest.mark.parametrize(
    "act",
    [
        lambda s: None,
        lambda s: s.get("n"),
        lambda s: dict(s),
        lambda s: s.id,
        lambda s: (s.is_new, s.created_at, s.last_accessed_at, s.max_inactive_interval),
        lambda s: s.encode_url("/"),
        lambda s: s.setdefault("n", 5),
        lambda s: s.pop("x", None),
    ],
)
async def test_a_request_that_only_reads_commits_nothing(act: Callable[[Session], object]) -> None:
    async def page(session: Session) -> object:
        act(session)
        return None

    middleware = alone(site(counter))
    browser = Browser(middleware)
    await browser.get()
    before = metrics_of(middleware)
    middleware.app = site(page)
    answer = await browser.get()
    assert answer.cookie is None
    assert metrics_of(middleware) == {**before, "opens": before["opens"] + 1}


async def test_no_headers_in_the_message_of_the_application_is_no_problem() -> None:
    assert (await Browser(alone(site(counter))).get()).cookie is not None


async def test_a_scope_of_another_kind_passes_through() -> None:
    seen: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope)

    async def never(*_: Any) -> Any:
        raise AssertionError("nobody asked")

    await alone(app)({"type": "something"}, never, never)
    assert seen == [{"type": "something"}]


@pytest.mark.parametrize("committed_before", [True, False])
async def test_what_fails_before_the_response_commits_nothing(committed_before: bool) -> None:
    async def page(session: Session) -> object:
        session["n"] = 99
        raise RuntimeError("page")

    middleware = alone(site(counter))
    browser = Browser(middleware)
    if committed_before:
        await browser.get()
    kept = records_of(middleware)
    middleware.app = site(page)
    with pytest.raises(RuntimeError, match="page"):
        await browser.get()
    assert records_of(middleware) == kept


async def test_what_fails_after_the_response_has_started_is_kept() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scope["session"]["a"] = 1
        await send({"type": "http.response.start", "status": 200, "headers": []})
        scope["session"]["b"] = 2
        raise RuntimeError("page")

    middleware = alone(app)
    browser = Browser(middleware)
    with pytest.raises(RuntimeError, match="page"):
        await browser.get()
    middleware.app = site(reader)
    assert (await browser.get()).json() == {"a": 1, "b": 2}


async def test_a_request_that_is_cancelled_keeps_what_it_wrote_since_the_start() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scope["session"]["a"] = 1
        await send({"type": "http.response.start", "status": 200, "headers": []})
        scope["session"]["b"] = 2
        scope_of_test.cancel()
        await anyio.sleep_forever()

    middleware = alone(app)
    browser = Browser(middleware)
    with anyio.CancelScope() as scope_of_test:
        await browser.get()
    middleware.app = site(reader)
    assert (await browser.get()).json() == {"a": 1, "b": 2}


class Thing:
    """May not be stored."""


async def test_a_value_that_may_not_be_stored_is_an_error_of_the_request(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def page(session: Session) -> object:
        session["n"] = 2
        session["x"] = Thing()
        return None

    middleware = alone(site(counter))
    browser = Browser(middleware)
    await browser.get()
    middleware.app = site(page)

    with pytest.raises(UnserializableAttribute) as caught:
        await browser.get()

    assert "attribute 'x' of session" in str(caught.value)
    assert "tests.test_asgi.Thing; what may be stored: None, bool, 64-bit int" in str(caught.value)
    session_id = caught.value.session_id
    assert session_id is not None
    line = f"Unable to serialize attribute 'x' (tests.test_asgi.Thing) of session {session_id[:8]}"
    assert caplog.messages == [line]
    middleware.app = site(reader)
    assert (await browser.get()).json() == {"n": 1}


async def test_a_value_written_too_late_to_be_refused_politely_is_an_error_too() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        scope["session"]["n"] = 2
        scope["session"]["x"] = Thing()
        await send({"type": "http.response.body", "body": b""})

    middleware = alone(site(counter))
    browser = Browser(middleware)
    await browser.get()
    middleware.app = app
    with pytest.raises(SessionError):
        await browser.get()
    middleware.app = site(reader)
    assert (await browser.get()).json() == {"n": 1}


def streaming(act: Callable[[Session, int], object], chunks: int = 3) -> Application:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for number in range(chunks):
            act(scope["session"], number)
            more = number + 1 < chunks
            await send({"type": "http.response.body", "body": b"x", "more_body": more})
        act(scope["session"], chunks)

    return app


async def test_what_is_written_while_streaming_and_after_it_is_kept() -> None:
    middleware = alone(site(counter))
    browser = Browser(middleware)
    await browser.get()
    middleware.app = streaming(lambda session, number: session.update({f"at{number}": number}))
    assert (await browser.get()).body == b"xxx"
    middleware.app = site(reader)
    assert (await browser.get()).json() == {"n": 1, "at0": 0, "at1": 1, "at2": 2, "at3": 3}


async def test_when_the_last_byte_leaves_what_was_written_is_there() -> None:
    seen: list[Mapping[str, bytes]] = []
    middleware = alone(site(counter))
    browser = Browser(middleware)
    await browser.get()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        scope["session"]["late"] = True
        await send({"type": "http.response.body", "body": b"x", "more_body": True})
        await send({"type": "http.response.body", "body": b""})
        seen.extend(records_of(middleware))

    middleware.app = app
    await browser.get()
    assert [sorted(record) for record in seen] == [["late", "n"]]


async def test_a_session_born_after_the_start_is_not_stored(
    caplog: pytest.LogCaptureFixture,
) -> None:
    middleware = alone(streaming(lambda session, number: session.update(n=number)))
    answer = await Browser(middleware).get()
    assert (answer.cookie, records_of(middleware)) == (None, [])
    assert len(caplog.messages) == 1
    assert "A session was begun after the response to" in caplog.text


async def test_a_logout_while_streaming_ends_the_session() -> None:
    middleware = alone(site(counter))
    browser = Browser(middleware)
    await browser.get()
    middleware.app = streaming(lambda session, _: session.clear())
    await browser.get()
    assert records_of(middleware) == []


async def test_a_session_that_was_exposed_while_streaming_lives() -> None:
    tokens: list[str | None] = []

    def act(session: Session, number: int) -> None:
        session["n"] = number
        tokens.append(session.url_token)

    middleware = alone(streaming(act))
    await Browser(middleware).get()
    middleware.app = site(reader)
    assert (await Browser(middleware, tokens[0]).get()).json() == {"n": 3}


# URLs.


@pytest.mark.parametrize(
    ("sent", "path", "raw_path"),
    [
        ("/a;jsessionid=T", "/a", b"/a"),
        ("/a/b;jsessionid=T;x=1", "/a/b;x=1", b"/a/b;x=1"),
        ("/a%20b;jsessionid=T", "/a b", b"/a%20b"),
        ("/;jsessionid=T", "/", b"/"),
        ("/a;jsessionid=", "/a", b"/a"),
        ("/a;JSESSIONID=T", "/a;JSESSIONID=T", b"/a;JSESSIONID=T"),
        ("/a%3Bjsessionid=T", "/a;jsessionid=T", b"/a%3Bjsessionid=T"),
        ("/a;jsessionid=T/b", "/a;jsessionid=T/b", b"/a;jsessionid=T/b"),
    ],
)
@pytest.mark.parametrize("tracking", [True, False])
async def test_the_application_sees_the_path_without_the_id(
    sent: str, path: str, raw_path: bytes, tracking: bool
) -> None:
    seen: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope)

    await Browser(alone(app, url_tracking=tracking)).get(sent)
    if not tracking:
        path, raw_path = Browser(app).scope("http", sent)["path"], sent.encode()
    assert (seen[0]["path"], seen[0]["raw_path"]) == (path, raw_path)


async def test_the_valve_sees_the_path_without_the_id() -> None:
    middleware = alone(site(reader), url_tracking=True)
    token = await born(middleware)
    before = metrics_of(middleware)
    middleware.app = site(nothing)
    await Browser(middleware).get(f"/logo.gif;jsessionid={token}")
    assert metrics_of(middleware) == {
        **before,
        "requests_filtered": before["requests_filtered"] + 1,
    }


async def born(middleware: SessionMiddleware, **values: Any) -> str:
    """Let a new browser begin a session; return its token."""
    app, middleware.app = middleware.app, site(counter)
    browser = Browser(middleware)
    await browser.get()
    middleware.app = app
    assert browser.cookie is not None
    return browser.cookie


async def test_a_url_carries_a_session_to_a_browser_without_a_cookie() -> None:
    middleware = alone(site(counter), url_tracking=True)
    token = await born(middleware)
    browser = Browser(middleware)
    answer = await browser.get(f"/;jsessionid={token}")
    assert (answer.json(), answer.cookie, browser.cookie) == ({"n": 2}, None, None)
    assert answer.values("referrer-policy") == ["no-referrer"]


async def test_without_tracking_an_id_in_the_url_is_nothing() -> None:
    middleware = alone(site(reader))
    token = await born(middleware)
    assert (await Browser(middleware).get(f"/;jsessionid={token}")).json() == {}


async def test_a_websocket_may_bring_its_id_in_the_url() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append((scope["path"], dict(scope["session"])))
        await send({"type": "websocket.accept"})

    seen: list[tuple[str, dict[str, Any]]] = []
    middleware = alone(app, url_tracking=True)
    token = await born(middleware)
    async with Browser(middleware).websocket(f"/ws;jsessionid={token}") as end:
        await end.hear()
    assert seen == [("/ws", {"n": 1})]
    assert end.accepted is not None
    assert end.accepted.values("referrer-policy") == ["no-referrer"]


@pytest.mark.parametrize(
    ("sent", "options", "url", "encoded"),
    [
        ("/a", {}, "/b?x#y", "/b;jsessionid=T?x#y"),
        ("/a", {}, "http://here/b", "http://here/b;jsessionid=T"),
        ("/a", {"scheme": "https"}, "http://here/b", "http://here/b"),
        ("/root/a", {"root_path": "/root"}, "?x", "./a;jsessionid=T?x"),
        ("/d%20e", {}, "?x", "./d%20e;jsessionid=T?x"),
        ("/d%252Fe", {}, "?x", "./d%252Fe;jsessionid=T?x"),
        ("/d%2Fe", {}, "?x", "./d%2Fe;jsessionid=T?x"),
        ("/d%25e", {"raw_path": None}, "?x", "./d%25e;jsessionid=T?x"),
        ("/a", {"raw_path": b"/a?z=1"}, "?x", "./a;jsessionid=T?x"),
    ],
)
async def test_urls_are_encoded_for_the_page_that_was_asked_for(
    sent: str, options: dict[str, Any], url: str, encoded: str
) -> None:
    async def page(session: Session) -> object:
        session["n"] = 1
        return [session.encode_url(url), session.url_token]

    browser = Browser(alone(site(page), url_tracking=True))
    got, token = (await browser.get(sent, **options)).json()
    assert without_seen(got) == encoded.replace("=T", f"={name_of(token)}")
    # Now it has a cookie.
    assert (await browser.get(sent, **options)).json()[0] == url


async def test_an_application_below_a_root_path_is_filtered_by_its_whole_path() -> None:
    middleware = alone(site(nothing), valve=["/root/static/.*"], url_tracking=True)
    browser = Browser(middleware)
    for path in ("/root/static/x", "/static/x", "/root/x"):
        await browser.get(path, root_path="/root")
    assert metrics_of(middleware)["requests_filtered"] == 1


# The valve.


async def test_a_filtered_path_does_no_session_work(monkeypatch: pytest.MonkeyPatch) -> None:
    middleware = alone(site(nothing))
    browser = Browser(middleware, await born(middleware))
    before = metrics_of(middleware)

    def verify(_: str) -> None:
        raise AssertionError("a token was verified")

    monkeypatch.setattr("replsession.security.tokens.TokenSigner.verify", verify)
    answer = await browser.get("/logo.png")
    assert answer.headers == []
    assert metrics_of(middleware) == {**before, "requests_filtered": 1}


async def test_a_write_on_a_filtered_path_is_kept() -> None:
    middleware = alone(site(counter))
    browser = Browser(middleware)
    for number in range(1, 4):
        assert (await browser.get("/pixel.gif")).json() == {"n": number}
    counted = metrics_of(middleware)
    assert (counted["requests_filtered"], counted["writes_on_filtered_paths"]) == (3, 3)


@pytest.mark.parametrize("valve", [None, "", [], Valve(None), Valve("/x")])
async def test_the_valve_may_be_off(valve: Any) -> None:
    middleware = alone(site(counter), valve=valve)
    await Browser(middleware).get("/logo.gif")
    assert metrics_of(middleware)["requests_filtered"] == 0


# Expiry.


@pytest.mark.parametrize(
    ("options", "ahead_s", "lives"),
    [
        ({}, 1799, True),
        ({}, 1801, False),
        ({"max_age": None}, 1801, False),
        ({"max_age": 100}, 99, True),
        ({"max_age": 100}, 101, False),
        ({"max_age": 14 * 24 * 3600}, 14 * 24 * 3600 - 1, True),
        ({"max_age": 0}, 0, False),
        ({"max_age": -1}, 0, False),
        ({"max_age": 100, "max_inactive_interval": 50}, 51, False),
        ({"max_age": 10, "max_inactive_interval": 50}, 49, True),
        ({"max_inactive_interval": None}, 10**8, True),
        ({"max_inactive_interval": None, "lifetime": 50}, 49, True),
        ({"max_inactive_interval": None, "lifetime": 50}, 51, False),
    ],
)
async def test_how_long_a_session_lives(
    options: dict[str, Any], ahead_s: float, lives: bool, clock: Clock
) -> None:
    middleware = alone(site(reader), **options)
    token = await born(middleware)
    clock.ahead_s = ahead_s
    assert (await Browser(middleware, token).get()).json() == ({"n": 1} if lives else {})


async def test_the_scope_says_whether_the_session_was_served_here_last() -> None:
    told: list[object] = []

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        told.append(scope.get("primary"))
        scope["session"]["n"] = 1
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    browser = Browser(SessionMiddleware(app, "short", cluster=None, primary_indicator="primary"))
    await browser.get("/")
    await browser.get("/")
    assert told == [None, True]
