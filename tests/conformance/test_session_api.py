"""
What applications call on a session, end to end: requests that overlap, and members apart.

Under asyncio and trio, with one member; and with two members in one thread, whose messages can be
kept back.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from replsession import Session
from tests.browser import Answer, Browser
from tests.conformance.test_behaviour import Act, World, nothing, put
from tests.web.rooms import App, cookie_in, started
from tests.web.wired import Wired

pytestmark = pytest.mark.anyio


def count(name: str = "hits", amount: int = 1) -> Act:
    return lambda session: session.increment(name, amount)


def flash(message: str) -> Act:
    return lambda session: session.flash(message)


def pop(session: Session) -> object:
    return session.pop_flash("message")


async def messages(world: World) -> Any:
    """Return what the next page would show."""

    async def page(session: Session) -> object:
        return session.peek_flash("message")

    return (await world._ask(page, world.browser)).json()


def max_age(answer: Answer) -> str | None:
    """Return the ``Max-Age`` of the cookie; None if it has none."""
    (cookie,) = answer.values("set-cookie")
    _, _, rest = cookie.partition("Max-Age=")
    return rest.partition(";")[0] if rest else None


async def test_two_requests_that_count_at_the_same_time_both_count() -> None:
    world = World()
    await world.request(put(n=0))
    await world.overlapping((count(), count("hits", 10)), count("hits", 100))
    assert await world.content() == {"n": 0, "hits": 111}


async def test_two_first_counts_of_a_counter_both_count() -> None:
    world = World()
    await world.request(put(n=0))
    await world.overlapping((count(), nothing), count())
    assert await world.content() == {"n": 0, "hits": 2}


async def test_a_count_begins_a_session_and_a_counter_keeps_it() -> None:
    world = World()
    answer = await world.request(count())
    assert answer.cookie is not None
    assert await world.content() == {"hits": 1}
    answer = await world.request(lambda s: s.pop("hits"))
    assert answer.cookie == "null"


async def test_of_an_assignment_and_a_count_the_later_one_counts() -> None:
    world = World()
    await world.request(put(hits=5))
    # The slow one counts on what the quick one has assigned meanwhile.
    await world.overlapping((count(), nothing), put(hits=100))
    assert await world.content() == {"hits": 101}
    await world.overlapping((put(hits=0), nothing), count("hits", 50))
    assert await world.content() == {"hits": 0}


async def test_a_count_does_not_bring_a_session_back() -> None:
    world = World()
    await world.request(put(n=0))
    copied = world.browser.cookie
    slow, quick = await world.overlapping((count(), flash("late")), lambda s: s.invalidate())
    assert (slow.cookie, quick.cookie) == (None, "null")
    assert await world.content(Browser(world.middleware, copied)) == {}


async def test_two_requests_that_flash_at_the_same_time_keep_both() -> None:
    world = World()
    await world.request(put(n=0))
    await world.overlapping((flash("slow"), nothing), flash("quick"))
    assert await messages(world) == ["quick", "slow"]
    assert await world.content() == {"n": 0}


async def test_who_pops_takes_what_was_seen_and_no_more() -> None:
    world = World()
    await world.request(flash("first"))
    await world.overlapping((pop, nothing), flash("second"))
    assert await messages(world) == ["second"]
    await world.overlapping((flash("third"), nothing), pop)
    assert await messages(world) == ["third"]


async def test_a_visitor_who_is_flashed_is_shown_it_on_the_next_page() -> None:
    world = World()
    answer = await world.request(flash("welcome"))
    assert answer.cookie not in (None, "null")
    answer = await world.request(pop)
    assert answer.cookie not in (None, "null"), "its session goes on: others may be flashing"
    assert await messages(world) == []


@pytest.mark.parametrize("look", [lambda s: s.peek_flash(), pop, lambda s: s.principal])
async def test_who_looks_varies_and_sets_no_cookie(look: Act) -> None:
    world = World()
    await world.request(put(n=1))
    answer = await world.request(look)
    assert (answer.cookie, answer.values("vary")) == (None, ["Cookie"])
    nobody = await world.request(look, Browser(world.middleware))
    assert (nobody.cookie, nobody.values("vary")) == (None, ["Cookie"])


async def test_messages_stay_with_the_rotation_at_a_login() -> None:
    world = World()
    await world.request(flash("welcome"))
    old = world.browser.cookie

    def login(session: Session) -> None:
        session.principal = "anna"
        session.rotate_id()
        session["user"] = "anna"

    answer = await world.request(login)
    assert answer.cookie not in (None, old)
    assert await messages(world) == ["welcome"]


async def test_the_cookie_keeps_to_the_expiry_of_its_session() -> None:
    world = World()
    usual = max_age(await world.request(put(n=0)))
    assert usual == str(14 * 24 * 3600)
    assert max_age(await world.request(lambda s: s.set_expiry(500))) == "500"
    assert max_age(await world.request(put(n=1))) == "500"
    # A page that only reads gives it anew, so that the browser keeps it as long as we do.
    assert max_age(await world.request(dict)) == "500"
    assert (await world.request(nothing)).cookie is None
    assert max_age(await world.request(lambda s: s.set_expiry(0))) is None
    assert (await world.request(dict)).cookie is None
    assert max_age(await world.request(put(n=2))) is None
    ends = datetime.now(UTC) + timedelta(days=2)
    age = max_age(await world.request(lambda s: s.set_expiry(ends)))
    assert age is not None and 2 * 86_400 - 3600 < int(age) <= 2 * 86_400 + 1
    assert max_age(await world.request(lambda s: s.set_expiry(None))) == usual


async def test_an_expiry_that_another_request_gave_is_kept_to() -> None:
    world = World()
    await world.request(put(n=0))
    await world.overlapping((put(a=1), nothing), lambda s: s.set_expiry(500))
    assert max_age(await world.request(put(b=1))) == "500"


def request(app: App, token: str, act: Act) -> str:
    """Let a request do something; return the newest token."""
    exchange = app.request(token)
    act(exchange.session)
    return cookie_in(started(exchange)) or token


class TestTwoMembers:
    @pytest.fixture
    def anyio_backend(self) -> str:
        """Nothing here is asynchronous."""
        return "asyncio"

    def test_what_both_count_and_flash_apart_is_all_there(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        wired = Wired(monkeypatch, 1, 2)
        one, two = wired.app("m1"), wired.app("m2")
        token = one.born(n=0)
        wired.network.run(1.0)
        wired.network.part("m1", "m2")
        for _ in range(3):
            request(one, token, count())
            request(two, token, count("hits", 10))
        request(one, token, flash("here"))
        wired.network.run(0.1)
        request(two, token, flash("there"))
        wired.network.meet("m1", "m2")
        wired.network.run(20.0)
        for app in (one, two):
            session = app.request(token).session
            assert dict(session) == {"n": 0, "hits": 33}
            assert session.peek_flash("message") == ["here", "there"]
        request(two, token, pop)
        wired.network.run(1.0)
        assert one.request(token).session.peek_flash() == []

    def test_an_expiry_holds_on_every_member(self, monkeypatch: pytest.MonkeyPatch) -> None:
        wired = Wired(monkeypatch, 1, 2)
        one, two = wired.app("m1"), wired.app("m2")
        token = request(one, one.born(n=0), lambda s: s.set_expiry(500))
        wired.network.run(1.0)
        exchange = two.request(token)
        exchange.session["n"] = 1
        (line,) = [value for name, value in started(exchange) if name == b"set-cookie"]
        assert b"; Max-Age=500; " in line
        assert exchange.session.max_inactive_interval == 500
