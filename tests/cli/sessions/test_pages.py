"""Pages of sessions as a program reads them, and one session by the beginning of its id."""

from __future__ import annotations

from typing import Any

import click
import pytest

from replsession.cli.asking import NoAnswer
from replsession.cli.choosing import CannotLook
from replsession.cli.sessions.pages import asked, every, the_one


class Member:
    """Answers as it was told to, and keeps what it was asked."""

    where = "/run/x.sock"

    def __init__(self, *answers: dict[str, Any]) -> None:
        self.answers = list(answers)
        self.asked: list[dict[str, Any]] = []

    def ask(self, ask: str, **request: Any) -> dict[str, Any]:
        self.asked.append({"ask": ask, **request})
        if not self.answers:
            raise NoAnswer("it hangs")
        return self.answers.pop(0)


def page(first: int, count: int, after: str | None) -> dict[str, Any]:
    return {"sessions": [{"id": str(n)} for n in range(first, first + count)], "after": after}


def test_pages_are_asked_for_as_they_are_read() -> None:
    member = Member(page(0, 3, "a"), page(3, 0, "b"), page(3, 2, None))
    found = every(member, "/", "anna", None)
    assert next(found) == {"id": "0"}
    assert len(member.asked) == 1
    assert [one["id"] for one in found] == ["1", "2", "3", "4"]
    assert [one["after"] for one in member.asked] == [None, "a", "b"]
    assert member.asked[0]["context"] == "/" and member.asked[0]["principal"] == "anna"


def test_no_more_are_asked_for_than_are_wanted() -> None:
    member = Member(page(0, 3, "a"), page(3, 2, "b"))
    assert len(list(every(member, None, None, 5))) == 5
    assert [one["limit"] for one in member.asked] == [5, 2]


def test_who_does_not_answer_is_named() -> None:
    with pytest.raises(CannotLook, match=r"/run/x\.sock: it hangs"):
        asked(Member(), "status")


def test_one_by_the_beginning_of_its_id() -> None:
    first, second = ({"id": "abcd", "context": "/"}, {"id": "abce", "context": "/shop"})
    assert the_one(Member({"found": [first]}), "ab", None) == first
    with pytest.raises(click.ClickException) as caught:
        the_one(Member({"found": [first, second]}), "abc", None)
    assert "'abc' may be any of abcd (/), abce (/shop); give more" in str(caught.value)
    assert caught.value.exit_code == 1
    with pytest.raises(click.ClickException, match=r"no session here .* begins with 'x'"):
        the_one(Member({"found": []}), "x", None)
