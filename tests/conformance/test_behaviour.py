"""
Eleven behaviours in which session libraries differ, as an application and its browsers see them.

Two requests overlap where a scenario needs it: the first one waits in its page until the second
one has been answered. Under asyncio and trio.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import anyio
import pytest

from replsession import Session, SessionMiddleware
from tests.browser import Answer, Browser, Receive, Send, site
from tests.web.rooms import App

pytestmark = pytest.mark.anyio

SECRET = "short"
Act = Callable[[Session], object]
Scope = MutableMapping[str, Any]


class World:
    """One application; each request is told what its page does."""

    def __init__(self, **options: Any) -> None:
        self.middleware = SessionMiddleware(site(self._page), SECRET, cluster=None, **options)
        self.browser = Browser(self.middleware)
        self._act: Callable[[Session], Awaitable[object]] = self._nothing

    async def _nothing(self, session: Session) -> object:
        return None

    async def _page(self, session: Session) -> object:
        return await self._act(session)

    async def request(self, act: Act, browser: Browser | None = None) -> Answer:
        """Ask for a page that does this, and answers with nothing."""

        async def page(session: Session) -> object:
            act(session)
            return None

        return await self._ask(page, browser or self.browser)

    async def content(self, browser: Browser | None = None) -> Any:
        """Return what a page finds in the session."""

        async def page(session: Session) -> object:
            return dict(session)

        return (await self._ask(page, browser or self.browser)).json()

    async def overlapping(self, slow: tuple[Act, Act], quick: Act) -> tuple[Answer, Answer]:
        """Let a slow request do something before and something after a quick one."""
        arrived, may_go_on = anyio.Event(), anyio.Event()
        answers: list[Answer] = []

        async def page(session: Session) -> object:
            slow[0](session)
            arrived.set()
            await may_go_on.wait()
            slow[1](session)
            return None

        async def slow_request() -> None:
            # Its own browser, with the cookie that both had when it began.
            answers.append(await self._ask(page, Browser(self.middleware, self.browser.cookie)))

        async with anyio.create_task_group() as group:
            group.start_soon(slow_request)
            await arrived.wait()
            answer = await self.request(quick)
            may_go_on.set()
        return answers[0], answer

    async def _ask(self, page: Callable[[Session], Awaitable[object]], browser: Browser) -> Answer:
        self._act = page
        return await browser.get()


def nothing(session: Session) -> None:
    """Do not touch it."""


def put(**values: Any) -> Act:
    return lambda session: session.update(values)


async def test_two_writers_of_different_keys_keep_both() -> None:
    world = World()
    await world.request(put(n=0))
    await world.overlapping((lambda s: s.get("n"), put(a=1)), put(b=2))
    assert await world.content() == {"n": 0, "a": 1, "b": 2}


async def test_of_two_writers_of_one_key_the_later_one_counts() -> None:
    world = World()
    await world.request(put(n=0))
    await world.overlapping((put(n=1), nothing), put(n=2))
    assert await world.content() == {"n": 1}


async def test_a_removal_and_a_write_keep_both() -> None:
    world = World()
    await world.request(put(n=0, a=1))
    await world.overlapping((nothing, lambda s: s.pop("a")), put(b=2))
    assert await world.content() == {"n": 0, "b": 2}


async def test_two_changes_in_place_of_different_values_keep_both() -> None:
    world = World()
    await world.request(put(a=[], b=[]))
    await world.overlapping((lambda s: s["a"].append(1), nothing), lambda s: s["b"].append(2))
    assert await world.content() == {"a": [1], "b": [2]}


async def test_a_slow_reader_does_not_undo_a_newer_write() -> None:
    world = World()
    await world.request(put(n=1, cart=[]))
    slow, _ = await world.overlapping((dict, dict), put(n=2, cart=[1]))
    assert await world.content() == {"n": 2, "cart": [1]}
    assert slow.cookie is None


@pytest.mark.parametrize(
    "logout", [lambda s: s.clear(), lambda s: s.invalidate(), lambda s: s.pop("user")]
)
async def test_logout_wins_over_a_slow_writer(logout: Act) -> None:
    world = World()
    await world.request(put(user="anna"))
    copied = world.browser.cookie
    slow, quick = await world.overlapping((dict, put(late=True)), logout)
    assert quick.cookie == "null"
    # The slow one must neither bring it back nor hand out its cookie.
    assert slow.cookie is None
    assert await world.content(Browser(world.middleware, copied)) == {}


async def test_a_login_after_the_logout_is_not_disturbed_by_a_slow_writer() -> None:
    world = World()
    await world.request(put(user="anna"))

    def another_login(session: Session) -> None:
        session.clear()
        session["user"] = "bert"

    slow, _ = await world.overlapping((dict, put(user="mallory")), another_login)
    assert slow.cookie is None
    assert await world.content() == {"user": "bert"}


async def test_a_login_rotates_the_id_and_a_slow_writer_keeps_its_own_write() -> None:
    world = World()
    await world.request(put(cart=1))
    old = world.browser.cookie

    def login(session: Session) -> None:
        session["user"] = "anna"
        session.rotate_id()

    slow, quick = await world.overlapping((dict, put(seen=True)), login)
    assert slow.cookie is None
    assert quick.cookie not in (None, old)
    assert await world.content() == {"cart": 1, "user": "anna", "seen": True}
    assert await world.content(Browser(world.middleware, old)) == {}


@pytest.mark.parametrize("kind", ["free", "signed by another", "signed and unknown", "empty"])
async def test_an_id_that_the_client_chose_is_not_adopted(kind: str) -> None:
    chosen = {
        "free": "A" * 43,
        "signed by another": App(secrets=("another",)).born(n=1),
        "signed and unknown": App(secrets=(SECRET,)).born(n=1),
        "empty": "",
    }[kind]
    world = World(url_tracking=True)
    world.browser.cookie = chosen
    answer = await world.request(put(n=1))
    assert answer.cookie is not None
    assert answer.cookie[:39] != chosen[:39]
    assert await world.content(Browser(world.middleware, chosen)) == {}
    await world.browser.get(f"/;jsessionid={chosen}")
    assert await world.content(Browser(world.middleware, chosen)) == {}


async def test_a_change_inside_a_value_is_kept_and_its_cookie_remembers_it() -> None:
    world = World()
    await world.request(put(cart=[{"tags": []}]))
    before = world.browser.cookie
    answer = await world.request(lambda s: s["cart"][0]["tags"].append("new"))
    assert await world.content() == {"cart": [{"tags": ["new"]}]}
    assert answer.cookie not in (None, before)


async def test_a_write_while_streaming_is_kept() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for number in range(3):
            scope["session"]["chunks"] = number
            await send({"type": "http.response.body", "body": b"x", "more_body": True})
        await send({"type": "http.response.body", "body": b""})
        scope["session"]["after"] = True

    world = World()
    await world.request(put(n=1))
    world.middleware.app, page = app, world.middleware.app
    await world.browser.get()
    world.middleware.app = page
    assert await world.content() == {"n": 1, "chunks": 2, "after": True}


async def test_a_write_in_a_websocket_is_kept() -> None:
    seen: list[Any] = []
    world = World()
    page = world.middleware.app

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        session = scope["session"]
        session["before"] = True
        await send({"type": "websocket.accept"})
        session["after"] = True
        await send({"type": "websocket.send", "text": "x"})
        world.middleware.app = page
        seen.append(await world.content())
        session["late"] = True

    await world.request(put(n=1))
    world.middleware.app = app
    async with world.browser.websocket() as end:
        await end.hear()
    assert end.accepted is not None and end.accepted.cookie is not None
    assert seen == [{"n": 1, "before": True, "after": True}]
    assert await world.content() == {"n": 1, "before": True, "after": True, "late": True}


@pytest.mark.parametrize("session_there", [True, False])
@pytest.mark.parametrize(
    ("act", "varies"),
    [
        (nothing, False),
        (dict, True),
        (len, True),
        (lambda s: "n" in s, True),
        (lambda s: s.get("n"), True),
        (lambda s: bool(s), True),
        (repr, True),
    ],
)
async def test_requests_that_do_not_write_send_no_cookie_and_vary_when_they_read(
    session_there: bool, act: Act, varies: bool
) -> None:
    world = World()
    if session_there:
        await world.request(put(n=1))
    answer = await world.request(act)
    assert answer.cookie is None
    assert answer.values("vary") == (["Cookie"] if varies else [])


async def test_a_write_sends_the_cookie_and_varies() -> None:
    answer = await World().request(put(n=1))
    assert answer.cookie is not None
    assert answer.values("vary") == ["Cookie"]


async def test_a_login_that_clears_and_rotates_begins_a_new_session() -> None:
    world = World()
    await world.request(put(cart=1))
    old = world.browser.cookie

    def login(session: Session) -> None:
        session.clear()
        session.rotate_id()
        session["user"] = "anna"

    await world.request(login)
    assert world.browser.cookie not in (None, old)
    assert await world.content() == {"user": "anna"}
    assert await world.content(Browser(world.middleware, old)) == {}


async def test_many_requests_at_once_lose_nothing() -> None:
    all_arrived = anyio.Event()
    arrived: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        arrived.append(scope["path"])
        if len(arrived) == 20:
            all_arrived.set()
        await all_arrived.wait()
        scope["session"][scope["path"]] = len(scope["session"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    world = World()
    await world.request(put(n=0))
    world.middleware.app, page = app, world.middleware.app
    paths = [f"/{number}" for number in range(20)]
    async with anyio.create_task_group() as group:
        for path in paths:
            group.start_soon(Browser(world.middleware, world.browser.cookie).get, path)
    world.middleware.app = page
    # Each saw what was there when it came, and none of the others' writes was lost.
    assert await world.content() == {"n": 0, **dict.fromkeys(paths, 1)}
