"""Inquiries: every question, and every way of asking wrongly."""

from __future__ import annotations

import json
from typing import Any

import pytest

from replsession.channel.channel import Channel
from replsession.channel.inquiry import Inquiries
from replsession.channel.steps import at_once
from replsession.config import CONTROL_PAGE_SESSIONS
from replsession.identity import INTERNAL
from tests.channel.test_administration import begin, listed


class Asked:
    """A process alone, and what it answers."""

    def __init__(self) -> None:
        self.channel = Channel(None)
        self.member = self.channel.member
        self._inquiries = Inquiries(self.channel)

    def __call__(self, request: object) -> dict[str, Any]:
        answer = at_once(self._inquiries.steps(request))
        assert json.loads(json.dumps(answer)) == json.loads(json.dumps(answer))
        return answer


@pytest.fixture
def ask() -> Asked:
    return Asked()


def test_the_status(ask: Asked) -> None:
    begin(ask.member, 1)
    status = ask({"ask": "status"})["status"]
    assert status["member"]["state"] == "ready"
    assert status["sessions"][0]["live"] == 1


def test_sessions_come_in_pages(ask: Asked) -> None:
    made = [begin(ask.member, n, "anna" if n % 2 else None) for n in range(1, 8)]
    first = ask({"ask": "sessions", "limit": 3})
    second = ask({"ask": "sessions", "limit": 30, "after": first["after"]})
    assert [one["id"] for one in first["sessions"] + second["sessions"]] == made
    assert second["after"] is None
    of_anna = ask({"ask": "sessions", "principal": "anna"})
    assert [one["id"] for one in of_anna["sessions"]] == made[::2]
    assert ask({"ask": "sessions", "context": "/shop"}) == {"sessions": [], "after": None}


def test_a_page_has_a_bound_whatever_is_asked(ask: Asked) -> None:
    for n in range(CONTROL_PAGE_SESSIONS + 5):
        # A few per bucket, each with a place of its own.
        begin(ask.member, n % 250 + 1, context=f"/{n // 250}")
    page = ask({"ask": "sessions", "limit": 10_000})
    assert len(page["sessions"]) == CONTROL_PAGE_SESSIONS
    assert page["after"] is not None


def test_one_session_with_and_without_its_values(ask: Asked) -> None:
    one = begin(ask.member, 7, "anna")
    (shown,) = ask({"ask": "session", "id": one[:5], "values": True})["found"]
    assert (shown["id"], shown["principal"], shown["values"]) == (one, "anna", {"n": "7"})
    (plain,) = ask({"ask": "session", "id": one[:5]})["found"]
    assert (plain["sizes"], plain["values"]) == ({"n": 1}, {})
    (other,) = ask({"ask": "session", "id": one, "values": "yes"})["found"]
    assert other["values"] == {}


def test_one_is_ended_and_then_there_is_nothing_to_end(ask: Asked) -> None:
    one = begin(ask.member, 1)
    request = {"ask": "invalidate", "id": one, "context": "/"}
    assert [ask(request), ask(request)] == [{"ended": True}, {"ended": False}]
    assert listed(ask.member) == []


def test_all_of_somebody_are_ended(ask: Asked) -> None:
    begin(ask.member, 1, "anna")
    begin(ask.member, 2, "anna", "/shop")
    left = begin(ask.member, 3, "bob")
    assert ask({"ask": "invalidate_all", "principal": "anna", "context": "/shop"}) == {"ended": 1}
    assert ask({"ask": "invalidate_all", "principal": "anna"}) == {"ended": 1}
    assert listed(ask.member) == [left]


@pytest.mark.parametrize(
    "request_",
    [
        None,
        [],
        "status",
        {},
        {"ask": "values"},
        {"ask": ["status"]},
        {"ask": "sessions", "limit": 0},
        {"ask": "sessions", "limit": True},
        {"ask": "sessions", "limit": "5"},
        {"ask": "sessions", "after": "elsewhere"},
        {"ask": "sessions", "context": 5},
        {"ask": "sessions", "principal": ""},
        {"ask": "sessions", "principal": "x" * 300},
        {"ask": "sessions", "context": "\ud800"},
        {"ask": "session"},
        {"ask": "session", "id": 5},
        {"ask": "invalidate", "id": "x"},
        {"ask": "invalidate_all", "principal": "x" * 300},
        {"ask": "invalidate_all"},
    ],
)
def test_what_is_asked_wrongly_is_told_in_a_sentence(ask: Asked, request_: object) -> None:
    answer = ask(request_)
    assert list(answer) == ["error"] and answer["error"]


def test_what_members_keep_for_themselves_cannot_be_ended(ask: Asked) -> None:
    begin(ask.member, 1, "anna")
    ask({"ask": "invalidate_all", "principal": "anna"})
    (kept,) = [r for r in ask.member.node.store.records() if r.key.is_internal]
    for context in (kept.key.context, INTERNAL):
        request = {"ask": "invalidate", "id": "A" * 24, "context": context}
        assert "NUL" in ask(request)["error"]
    assert kept.destroyed is None
