"""
Django on several members: requests of one browser that come before the news of its last one.

Both kinds of handlers, with a loop and without, go through the same waits.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.test import override_settings

from replsession.messages import Acknowledge, Deltas
from tests.channel.running import PATIENCE_S, until
from tests.django.project import SEEN, Browser, LoopBrowser, put, run
from tests.web.wired import Wired


class Members:
    """
    Two members, and one browser that goes to either.

    Args:
        kind: ``loop`` for coroutine views, ``threads`` for plain ones.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, kind: str, *numbers: int) -> None:
        self.wired = Wired(monkeypatch, *numbers)
        self.network = self.wired.network
        self.kind = kind
        self.loop_browser = LoopBrowser()
        self.browser = Browser()
        # One jar for both kinds.
        self.loop_browser.client.cookies = self.browser.client.cookies

    def ask(self, name: str, act: Callable[[Any], object], **options: Any) -> Any:
        """Ask a member for a page that does this."""
        with override_settings(REPLSESSION={"CLUSTER": self.wired.clusters[name], **options}):
            if self.kind == "threads":
                return self.browser.ask(act)

            async def page(session: Any) -> object:
                # So that the session is there when the act, which can't wait, asks for it.
                await session.aget("n")
                return act(session)

            return run(self.loop_browser.ask(page))

    def asking(self, name: str, act: Any, then: Callable[[], None], **options: Any) -> Any:
        """Ask, let something happen while that waits, and return the answer."""
        answers: list[Any] = []
        thread = threading.Thread(target=lambda: answers.append(self.ask(name, act, **options)))
        thread.start()
        until(lambda: self.wired.channel(name).member.waiters, "somebody waits")
        assert answers == []
        then()
        thread.join(PATIENCE_S)
        assert len(answers) == 1
        return answers[0]


@pytest.fixture(params=["threads", "loop"])
def members(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Members:
    """Two members that are ready."""
    return Members(monkeypatch, request.param, 1, 2)


def count(session: Any) -> object:
    """Count in the session, and show all of it."""
    session["n"] = session.get("n", 0) + 1
    return dict(session.items())


def read(session: Any) -> object:
    """Show all of the session, and whether it is stale."""
    return [dict(session.items()), session.stale]


def test_a_session_is_found_on_any_member(members: Members) -> None:
    for number in range(1, 6):
        answer = members.ask(f"m{1 + number % 2}", count)
        assert answer.json() == {"n": number}


def test_a_member_that_is_behind_waits(members: Members) -> None:
    members.ask("m1", count)
    members.network.hold("m1", Deltas)
    members.ask("m1", count)
    answer = members.asking("m2", read, lambda: members.network.release("m1"))
    assert answer.json() == [{"n": 2}, False]


def test_without_the_second_cookie_it_serves_what_is_here(members: Members) -> None:
    members.ask("m1", count)
    members.network.hold("m1", Deltas)
    members.ask("m1", count)
    del members.browser.client.cookies[SEEN]
    assert members.ask("m2", read).json() == [{"n": 1}, False]


def lost_write(members: Members) -> None:
    """Let a write be lost with its writer."""
    members.ask("m1", count)
    members.network.hold("m1")
    members.ask("m1", count)
    members.network.drop_held("m1")
    members.network.kill("m1")
    members.network.run(10.0)


def test_what_was_lost_is_served_as_stale_and_said_once(members: Members) -> None:
    lost_write(members)
    answer = members.ask("m2", read)
    assert answer.json() == [{"n": 1}, True]
    assert SEEN in answer.cookies
    assert members.ask("m2", read).json() == [{"n": 1}, False]


def test_or_it_is_refused_once(members: Members) -> None:
    lost_write(members)
    refused = members.ask("m2", read, STALE="error")
    assert refused.status_code == 503
    assert refused["Retry-After"] == "1"
    assert list(refused.cookies) == [SEEN]
    assert members.ask("m2", read, STALE="error").json() == [{"n": 1}, False]


def test_a_response_waits_until_its_write_is_held(members: Members) -> None:
    members.network.hold("m2", Acknowledge)
    answer = members.asking("m1", count, lambda: members.network.release("m2"), CONCERN="all")
    assert (answer.status_code, answer.json()) == (200, {"n": 1})
    assert members.ask("m2", read).json() == [{"n": 1}, False]


def test_a_shortfall_is_a_503_with_the_cookies(members: Members) -> None:
    members.network.hold("m2", Acknowledge)
    answer = members.asking("m1", count, lambda: members.network.run(1.0), CONCERN="all")
    assert answer.status_code == 503
    assert b"0 of 1 other members hold the write, missing: m2" in answer.content
    assert list(answer.cookies) == ["sessionid", SEEN]
    assert members.ask("m1", read).json() == [{"n": 1}, False]


def test_or_a_warning(members: Members, caplog: pytest.LogCaptureFixture) -> None:
    members.network.hold("m2", Acknowledge)
    answer = members.asking(
        "m1", count, lambda: members.network.run(1.0), CONCERN="all", ON_SHORTFALL="warn"
    )
    assert answer.json() == {"n": 1}
    assert "missing: m2" in caplog.text


def test_a_logout_and_a_new_key_are_waited_for_as_well(members: Members) -> None:
    members.ask("m1", count)
    for act in (lambda s: s.cycle_key(), lambda s: s.flush()):
        members.network.hold("m2", Acknowledge)
        before = time.monotonic()
        answer = members.asking("m1", act, lambda: members.network.release("m2"), CONCERN="one")
        assert answer.status_code == 200, time.monotonic() - before
    assert members.ask("m2", read).json() == [{}, False]


def test_a_logout_on_one_member_beats_a_slow_writer_on_another(members: Members) -> None:
    members.ask("m1", put(user="anna"))
    copied = Browser(members.browser)
    answers: list[Any] = []

    def slow(session: Any) -> None:
        assert session["user"] == "anna"
        if not answers:
            answers.append(members.browser.cookie)
            _elsewhere(members, copied)
        session["late"] = True

    members.kind = "threads"
    assert members.ask("m2", slow).status_code == 400
    assert members.ask("m1", read).json() == [{}, False]


def _elsewhere(members: Members, browser: Browser) -> None:
    with override_settings(REPLSESSION={"CLUSTER": members.wired.clusters["m1"]}):
        browser.ask(lambda session: session.flush(), "two")
    members.network.run(0.1)
