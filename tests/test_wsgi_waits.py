"""The front door for WSGI where it waits: write concern and freshness, and what a refusal says."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication

import pytest

from replsession.channel import waiting
from replsession.concern import Concern
from replsession.config import Timing
from replsession.messages import Acknowledge
from replsession.wsgi import SessionMiddleware, WsgiSession
from tests.browser import Answer
from tests.gateway import Environ, WsgiBrowser, wsgi_site
from tests.web.wired import Wired

SECRET = "short"
KEY = "replsession.session"
TIMING = Timing()


def counter(session: WsgiSession) -> object:
    session["n"] = session.get("n", 0) + 1
    return dict(session)


def reader(session: WsgiSession) -> object:
    return [dict(session), session.stale]


class Members:
    """Members with an application each, and one browser that goes to any of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *numbers: int) -> None:
        self.wired = Wired(monkeypatch, *numbers)
        self.network = self.wired.network
        self.browser = WsgiBrowser(wsgi_site(counter))
        self.entered = threading.Event()
        monkeypatch.setattr(waiting.Waiter, "_enter", self._noting(waiting.Waiter._enter))

    def _noting(self, enter: Callable[..., bool]) -> Callable[..., bool]:
        def noting(waiter: waiting.Waiter, call: Callable[[], object]) -> bool:
            waits = enter(waiter, call)
            self.entered.set()
            return waits

        return noting

    def get(self, name: str, app: WSGIApplication, **options: Any) -> Answer:
        """Ask a member for a page."""
        cluster = self.wired.clusters[name]
        self.browser.app = SessionMiddleware(app, SECRET, cluster=cluster, **options)
        return self.browser.get()

    def getting(
        self, name: str, app: WSGIApplication, then: Callable[[], object], **options: Any
    ) -> Answer:
        """Ask for a page in a thread, let something happen while that waits, return the answer."""
        answers: list[Answer] = []
        self.entered.clear()
        thread = threading.Thread(target=lambda: answers.append(self.get(name, app, **options)))
        thread.start()
        assert self.entered.wait(30), "it does not wait"
        assert answers == []
        then()
        thread.join(30)
        return answers[0]


@pytest.fixture
def members(monkeypatch: pytest.MonkeyPatch) -> Members:
    """Two members that are ready."""
    return Members(monkeypatch, 1, 2)


@pytest.mark.parametrize("concern", ["one", "majority", "all"])
def test_a_response_waits_until_its_write_is_held(members: Members, concern: Concern) -> None:
    members.network.hold("m2", Acknowledge)
    release = lambda: members.network.release("m2")  # noqa: E731
    answer = members.getting("m1", wsgi_site(counter), release, concern=concern)
    assert (answer.status, answer.json()) == (200, {"n": 1})
    assert members.get("m2", wsgi_site(reader)).json() == [{"n": 1}, False]


def streamed(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Write, and answer in two chunks."""
    environ[KEY]["n"] = 1
    start_response("200 OK", [("Content-Type", "text/plain"), ("Set-Cookie", "mine=1")])
    yield b"never"
    yield b"sent"


def written(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Write, and answer with ``write``."""
    environ[KEY]["n"] = 1
    write = start_response("200 OK", [("Content-Type", "text/plain"), ("Set-Cookie", "mine=1")])
    write(b"never")
    write(b"sent")
    return [b"too"]


def listed(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Write, and answer at once."""
    environ[KEY]["n"] = 1
    start_response("200 OK", [("Content-Type", "text/plain"), ("Set-Cookie", "mine=1")])
    return [b"never", b"sent"]


@pytest.mark.parametrize("app", [streamed, written, listed])
def test_a_shortfall_is_answered_with_503_and_the_cookies(
    monkeypatch: pytest.MonkeyPatch, app: WSGIApplication
) -> None:
    members = Members(monkeypatch, 1)
    answer = members.get("m1", app, concern="one")
    assert answer.status == 503
    assert answer.values("retry-after") == ["1"]
    assert answer.values("content-length") == [str(len(answer.body))]
    assert answer.body == (
        b"503 Service Unavailable: write concern 'one': 0 of 1 other members hold the write, "
        b"missing: no further member is up; it is kept, and replicated later. Please try again.\n"
    )
    cookies = answer.values("set-cookie")
    assert cookies[0] == "mine=1"
    assert cookies[1].startswith("session=")
    # The write is not undone, so its client must be able to come back to it.
    assert members.get("m1", wsgi_site(reader)).json() == [{"n": 1}, False]


def test_a_warning_lets_the_response_start(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    members = Members(monkeypatch, 1)
    answer = members.get("m1", wsgi_site(counter), concern="one", on_shortfall="warn")
    assert (answer.status, answer.json()) == (200, {"n": 1})
    assert "started without its write concern 'one'" in caplog.text


def test_what_streams_after_the_start_waits_for_nobody(members: Members) -> None:
    def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        yield b"a"
        environ[KEY]["late"] = True

    members.get("m1", wsgi_site(counter))
    members.network.hold("m2")
    assert members.get("m1", app, concern="all").status == 200


def behind(members: Members) -> None:
    """Let the browser have seen what the second member does not get."""
    members.get("m1", wsgi_site(counter))
    members.network.hold("m1")
    members.get("m1", wsgi_site(counter))


def test_a_request_waits_for_what_its_client_has_seen(members: Members) -> None:
    behind(members)
    release = lambda: members.network.release("m1")  # noqa: E731
    answer = members.getting("m2", wsgi_site(reader), release)
    assert answer.json() == [{"n": 2}, False]


@pytest.mark.parametrize("stale", ["serve", "error"])
def test_what_can_not_be_had_in_time_is_served_as_stale_or_refused(
    members: Members, stale: str
) -> None:
    behind(members)
    run = lambda: members.network.run(TIMING.fresh_timeout_s)  # noqa: E731
    answer = members.getting("m2", wsgi_site(reader), run, stale=stale)
    if stale == "serve":
        assert answer.json() == [{"n": 1}, True]
    else:
        assert answer.status == 503
        assert b"does not have the newest state of your session" in answer.body
    # Its cookie asks for less, so the next try is not refused.
    assert answer.cookie is not None
    assert members.get("m2", wsgi_site(reader), stale=stale).json() == [{"n": 1}, False]


def test_on_a_thread_that_runs_a_loop_nothing_waits(members: Members) -> None:
    behind(members)

    async def in_a_loop(name: str, app: WSGIApplication, **options: Any) -> Answer:
        return members.get(name, app, **options)

    assert asyncio.run(in_a_loop("m2", wsgi_site(reader))).json() == [{"n": 1}, True]
    assert asyncio.run(in_a_loop("m1", wsgi_site(counter), concern="all")).status == 503


def test_what_only_was_said_again_keeps_what_the_client_has_seen(members: Members) -> None:
    def same(session: WsgiSession) -> object:
        session["n"] = 1
        return None

    members.get("m1", wsgi_site(counter))
    before = members.browser.cookie
    assert members.get("m1", wsgi_site(same)).cookie == before
