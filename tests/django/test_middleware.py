"""The middleware, in front of Django's own: freshness, write concern, streaming, cookies."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.contrib.auth import alogin, alogout, authenticate, login, logout
from django.contrib.auth.models import User
from django.core.management import call_command
from django.http import FileResponse, HttpResponse, StreamingHttpResponse
from django.test import override_settings

from replsession import ConfigError
from replsession.django.arrival import CURRENT
from replsession.django.configuration import behind
from replsession.web.exchange import Unavailable
from tests.django.project import SEEN, SESSIONS, Browser, LoopBrowser, put, run


def cookies(response: Any) -> list[str]:
    return list(response.cookies)


def test_a_write_sets_both_cookies_with_the_same_flags(browser: Browser) -> None:
    with override_settings(
        SESSION_COOKIE_SECURE=True, SESSION_COOKIE_PATH="/page", SESSION_COOKIE_SAMESITE="Strict"
    ):
        response = browser.ask(put(n=1))
    session, seen = response.cookies["sessionid"], response.cookies[SEEN]
    assert response["Vary"] == "Cookie"
    for name in ("max-age", "path", "samesite", "secure", "httponly", "domain"):
        assert session[name] == seen[name], name
    assert session["path"] == "/page"
    assert session["httponly"] and session["secure"]
    assert session.value not in seen.value


def test_the_two_belong_together(browser: Browser) -> None:
    browser.ask(put(n=1))
    other = Browser()
    other.ask(put(n=2))
    mixed = Browser(other)
    mixed.client.cookies[SEEN] = browser.client.cookies[SEEN].value
    assert mixed.content() == {"n": 2}
    for value in ("", "x", "a" * 600, "ü"):
        mixed.client.cookies[SEEN] = value
        assert mixed.content() == {"n": 2}


@pytest.mark.parametrize("is_there", [False, True])
@pytest.mark.parametrize(
    ("act", "varies"),
    [
        (lambda s: None, False),
        (lambda s: s.get("n"), True),
        (lambda s: "n" in s, True),
        (lambda s: list(s.items()), True),
        (lambda s: s.is_empty() and None, False),
    ],
)
def test_who_only_reads_gets_no_cookie(
    browser: Browser, is_there: bool, act: Any, varies: bool
) -> None:
    if is_there:
        browser.ask(put(n=1, cart=[]))
    response = browser.ask(act)
    assert cookies(response) == []
    assert response.get("Vary") == ("Cookie" if varies else None)
    metrics = behind().application.manager.metrics
    assert metrics.commits == (1 if is_there else 0)


def test_saving_at_every_request_makes_no_session_of_an_unknown_id(browser: Browser) -> None:
    browser.cookie = "unknown to everybody"
    with override_settings(SESSION_SAVE_EVERY_REQUEST=True):
        response = browser.ask(lambda s: None)
        assert cookies(response) == []
        assert behind().application.manager.metrics.commits == 0
        browser.ask(put(n=1))
        assert cookies(browser.ask(lambda s: None)) == ["sessionid", SEEN]


def test_an_unknown_id_is_not_taken_away_from_a_browser_that_may_have_another(
    browser: Browser,
) -> None:
    browser.cookie = "unknown to everybody"
    assert cookies(browser.ask(lambda s: s.get("n"))) == []


def test_logout_takes_both_cookies_away(browser: Browser) -> None:
    browser.ask(put(n=1))
    copied = Browser(browser)
    response = browser.ask(lambda s: s.flush())
    assert {name: morsel["max-age"] for name, morsel in response.cookies.items()} == {
        "sessionid": 0,
        SEEN: 0,
    }
    assert copied.content() == {}


def test_an_error_of_the_view_saves_nothing(browser: Browser) -> None:
    browser.ask(put(n=1))

    def failing(request: Any) -> HttpResponse:
        request.session["n"] = 2
        return HttpResponse(status=500)

    assert cookies(browser.view(failing)) == []
    assert browser.content() == {"n": 1}


def test_a_value_that_may_not_be_stored_is_an_error_of_the_server(browser: Browser) -> None:
    browser.ask(put(n=1))
    assert browser.ask(put(n=2, bad=object())).status_code == 500
    assert browser.content() == {"n": 1}


@pytest.mark.parametrize("kind", ["stream", "file"])
def test_what_is_written_while_streaming_is_kept(browser: Browser, kind: str) -> None:
    def streaming(request: Any) -> StreamingHttpResponse:
        request.session["first"] = 1

        class Body:
            def read(self, size: int = -1) -> bytes:
                number = request.session.get("chunks", 0) + 1
                request.session["chunks"] = number
                return b"x" if number < 3 else b""

        if kind == "file":
            return FileResponse(Body())
        return StreamingHttpResponse(iter(Body().read, b""))

    browser.ask(put(n=1))
    response = browser.view(streaming)
    assert b"".join(response.streaming_content) == b"xx"
    assert browser.content() == {"n": 1, "first": 1, "chunks": 3}


def test_a_session_that_is_first_touched_while_streaming_is_kept(browser: Browser) -> None:
    def streaming(request: Any) -> StreamingHttpResponse:
        def body() -> Any:
            request.session["late"] = True
            yield b"x"

        return StreamingHttpResponse(body())

    browser.ask(put(n=1))
    response = browser.view(streaming)
    assert cookies(response) == []
    assert b"".join(response.streaming_content) == b"x"
    assert browser.content() == {"n": 1, "late": True}
    # A session that begins then would be nobody's.
    fresh = Browser()
    commits = behind().application.manager.metrics.commits
    assert b"".join(fresh.view(streaming).streaming_content) == b"x"
    assert behind().application.manager.metrics.commits == commits


def test_what_cannot_be_stored_while_streaming_is_logged(
    browser: Browser, caplog: pytest.LogCaptureFixture
) -> None:
    def streaming(request: Any) -> StreamingHttpResponse:
        def body() -> Any:
            request.session["bad"] = object()
            yield b"x"

        return StreamingHttpResponse(body())

    browser.ask(put(n=1))
    assert b"".join(browser.view(streaming).streaming_content) == b"x"
    assert "could not be committed after its response had started" in caplog.text


def test_a_filtered_path_is_left_alone_until_it_is_touched(browser: Browser) -> None:
    browser.ask(put(n=1))
    metrics = behind().application.manager.metrics
    opens = metrics.opens
    assert cookies(browser.ask(lambda s: None, "logo.png")) == []
    assert (metrics.opens, metrics.requests_filtered) == (opens, 1)
    browser.ask(put(m=2), "logo.png")
    assert metrics.writes_on_filtered_paths == 1
    assert browser.content() == {"n": 1, "m": 2}


def test_nothing_is_left_in_the_context(browser: Browser) -> None:
    browser.ask(put(n=1))
    assert CURRENT.get() is None


def test_it_must_stand_outside_djangos_own() -> None:
    with override_settings(MIDDLEWARE=[SESSIONS, "replsession.django.Middleware"]):
        with pytest.raises(ConfigError, match="MIDDLEWARE"):
            Browser().ask(put(n=1))


def test_coroutine_views() -> None:
    async def scenario() -> None:
        browser = LoopBrowser()

        async def write(session: Any) -> None:
            await session.aset("cart", [])

        async def change(session: Any) -> None:
            (await session.aget("cart")).append(1)

        assert cookies(await browser.ask(write)) == ["sessionid", SEEN]
        assert cookies(await browser.ask(change)) == ["sessionid", SEEN]
        assert cookies(await browser.ask_sync(put(n=1))) == ["sessionid", SEEN]
        assert await browser.content() == {"cart": [1], "n": 1}

        async def streaming(request: Any) -> StreamingHttpResponse:
            async def body() -> Any:
                await request.session.aset("late", True)
                yield b"x"

            return StreamingHttpResponse(body())

        response = await browser.view(streaming)
        assert b"".join([part async for part in response.streaming_content]) == b"x"
        response.close()
        assert await browser.content() == {"cart": [1], "n": 1, "late": True}

    run(scenario())


@pytest.fixture
def users() -> Any:
    """A user database in memory, with one who may do everything."""
    call_command("migrate", verbosity=0)
    yield User.objects.create_superuser("anna", password="secret of anna")
    User.objects.all().delete()


def test_login_and_logout(browser: Browser, users: Any) -> None:
    browser.ask(put(cart=1))
    anonymous = browser.cookie

    def enter(request: Any) -> HttpResponse:
        login(request, authenticate(request, username="anna", password="secret of anna"))
        return HttpResponse()

    browser.view(enter)
    entered = Browser(browser)
    assert browser.cookie != anonymous
    assert browser.content()["cart"] == 1
    assert browser.view(lambda r: HttpResponse(r.user.username)).content == b"anna"
    before = Browser()
    before.cookie = anonymous or ""
    assert before.content() == {}
    users.set_password("another one")
    users.save()
    # The hash of the password is in the session.
    assert browser.view(lambda r: HttpResponse(r.user.username)).content == b""
    browser.view(lambda request: logout(request) or HttpResponse())
    assert entered.content() == {}


def test_login_and_logout_of_coroutines(users: Any) -> None:
    async def scenario() -> None:
        browser = LoopBrowser()

        async def enter(request: Any) -> HttpResponse:
            await alogin(request, users)
            return HttpResponse()

        async def leave(request: Any) -> HttpResponse:
            await alogout(request)
            return HttpResponse()

        await browser.view(enter)
        assert (await browser.content())["_auth_user_id"] == str(users.pk)
        assert {m["max-age"] for m in (await browser.view(leave)).cookies.values()} == {0}
        assert await browser.content() == {}

    run(scenario())


def test_the_admin(browser: Browser, users: Any) -> None:
    client = browser.client
    page = client.get("/admin/")
    assert page.status_code == 302
    sent = {"username": "anna", "password": "secret of anna", "next": "/admin/"}
    assert client.post("/admin/login/", sent).status_code == 302
    page = client.get("/admin/")
    assert page.status_code == 200
    assert b"anna" in page.content
    assert client.post("/admin/logout/").status_code == 200
    assert client.get("/admin/").status_code == 302


def test_the_client_of_djangos_tests(browser: Browser, users: Any) -> None:
    browser.client.force_login(users)
    assert browser.view(lambda r: HttpResponse(r.user.username)).content == b"anna"
    session = browser.client.session
    session["n"] = 1
    session.save()
    assert browser.content()["n"] == 1
    browser.client.logout()
    assert browser.content() == {}


def test_the_unavailable_is_a_503(browser: Browser) -> None:
    def failing(request: Any) -> HttpResponse:
        raise Unavailable("nothing is here")

    response = browser.view(failing)
    assert response.status_code == 503
    assert response["Retry-After"] == "1"
    assert response["Cache-Control"] == "no-store"


def test_a_logout_leaves_no_empty_session_behind(browser: Browser) -> None:
    metrics = behind().application.manager.metrics
    assert cookies(browser.ask(lambda s: s.flush())) == []
    assert metrics.commits == 0
    browser.ask(put(n=1))
    browser.ask(lambda s: s.flush())
    assert metrics.commits == 2


class TestWithoutIt:
    """The engine behind Django's own middleware alone."""

    @pytest.fixture(autouse=True)
    def alone(self, alone: None) -> Iterator[None]:
        """Take our middleware away."""
        with override_settings(MIDDLEWARE=[SESSIONS]):
            yield

    def test_it_serves_and_saves(self, browser: Browser) -> None:
        assert cookies(browser.ask(put(cart=[]))) == ["sessionid"]
        browser.ask(lambda s: s["cart"].append(1))
        assert browser.content() == {"cart": [1]}
        assert cookies(browser.ask(lambda s: s.get("cart"))) == []
        response = browser.ask(lambda s: s.flush())
        assert response.cookies["sessionid"]["max-age"] == 0
        assert browser.content() == {}

    @pytest.mark.parametrize("act", [lambda s: s.flush(), lambda s: s.cycle_key()])
    def test_a_slow_writer_is_interrupted_and_takes_no_id_from_the_browser(
        self, browser: Browser, act: Any
    ) -> None:
        browser.ask(put(n=1))
        other = Browser(browser)

        def slow(session: Any) -> None:
            assert session["n"] == 1
            other.ask(act, "other")
            session["late"] = True

        response = browser.ask(slow)
        assert response.status_code == 400
        assert cookies(response) == []


def test_many_requests_at_once_lose_nothing(browser: Browser) -> None:
    browser.ask(put(n=0))
    barrier = threading.Barrier(10)

    def write(request: Any) -> HttpResponse:
        barrier.wait(30)
        request.session[request.path] = len(request.session.keys())
        return HttpResponse()

    names = [f"many-{number}" for number in range(10)]
    browsers = [Browser(browser) for _ in names]
    with ThreadPoolExecutor(len(names)) as threads:
        found = list(threads.map(lambda each, name: each.view(write, name), browsers, names))
    assert [response.status_code for response in found] == [200] * len(names)
    # Each saw what was there when it came, and none of the others' writes was lost.
    assert browser.content() == {"n": 0, **{f"/page/{name}": 1 for name in names}}
