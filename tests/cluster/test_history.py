"""The checkers of histories: each planted violation is found, and what is allowed is let pass."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest

from tests.cluster.figures import lost_appends, overlapping, percentile
from tests.cluster.guarantees import fresh, known, monotonic
from tests.cluster.history import (
    CHECKERS,
    Checker,
    Held,
    History,
    Operation,
    Stop,
    Violation,
    check,
)

ALL = (*CHECKERS, fresh, known, monotonic)


class Story:
    """Builds a history; each request takes from one tenth of a second to the next."""

    def __init__(self) -> None:
        self.operations: list[Operation] = []
        self.now = 0.0

    def add(self, kind: Any, member: str, **fields: Any) -> Operation:
        """Add a request for session ``s`` by browser ``1``, unless it says otherwise."""
        self.now += 0.2
        times = {"start": self.now - 0.1, "end": self.now}
        usual: dict[str, Any] = {"browser": "1", "status": 200, "asked": "s", "session": "s"}
        operation = Operation(kind=kind, member=member, **{**times, **usual, **fields})
        self.operations.append(operation)
        return operation

    def write(self, token: str, member: str, *before: str, **fields: Any) -> Operation:
        """Append a token to what was there before."""
        values = {"w1": [*before, token]}
        given = {"attribute": "w1", "token": token, "values": values, **fields}
        return self.add("append", member, **given)

    def fail(self, token: str, member: str, **fields: Any) -> Operation:
        """Append a token, and get no answer."""
        given = {"status": 0, "session": None, "values": {}, **fields}
        return self.write(token, member, **given)

    def read(self, member: str, *tokens: str, **fields: Any) -> Operation:
        """Read the session."""
        return self.add("read", member, **{"values": {"w1": list(tokens)}, **fields})

    def unknown(self, member: str, **fields: Any) -> Operation:
        """Ask for the session where it is not known."""
        return self.add("read", member, **{"status": 404, "session": None, **fields})

    def end(self, member: str, **fields: Any) -> Operation:
        """Invalidate the session."""
        return self.add("invalidate", member, **fields)

    def found(self, checkers: Sequence[Checker] = ALL, **fields: Any) -> list[Violation]:
        """Check, with what members *a* and *b* hold in the end."""
        return check(History(self.operations, **fields), checkers)


@pytest.fixture
def story() -> Story:
    """Return a history in which nothing has happened yet."""
    return Story()


def both(*tokens: str) -> dict[str, dict[str, Held]]:
    """Two members that hold the same of session ``s``."""
    return {name: {"s": Held("d", {"w1": list(tokens)})} for name in "ab"}


NOTHING: dict[str, dict[str, Held]] = {"a": {}, "b": {}}


def rules(violations: Sequence[Violation]) -> list[str]:
    """Return which promises are broken."""
    return list(dict.fromkeys(violation.rule for violation in violations))


def test_a_life_without_trouble_breaks_nothing(story: Story) -> None:
    story.write("1", "a", asked=None)
    story.write("2", "b", "1")
    story.read("a", "1", "2")
    assert story.found(copies=both("1", "2")) == []


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"status": 500, "error": "Internal Server Error"}, "status 500, Internal Server Error"),
        ({"session": "other"}, "about session other"),
        ({"values": {"w1": ["2", "1"]}}, "has not what was written"),
        ({"values": {}}, "has not what was written"),
    ],
)
def test_a_wrong_answer_is_found(story: Story, fields: dict[str, Any], what: str) -> None:
    story.write("1", "a", asked=None)
    story.write("2", "a", "1", **fields)
    found = [v for v in story.found(CHECKERS) if v.rule == "ANSWERED"]
    assert len(found) == 1
    assert found[0].text.endswith(what)


@pytest.mark.parametrize(
    ("tokens", "what"),
    [
        (["1", "1"], "has a token twice"),
        (["1", "3"], "has 3, which nobody has written yet"),
        (["1", "of another"], "has of another, written to other"),
    ],
)
def test_values_from_nowhere_or_elsewhere_are_found(
    story: Story, tokens: list[str], what: str
) -> None:
    story.write("1", "a", asked=None)
    story.write("of another", "a", asked=None, session="other")
    read = story.read("a", *tokens)
    story.write("3", "a", "1")
    found = [v for v in story.found() if v.rule == "REAL"]
    assert what in found[0].text
    assert f"{read.start:.3f}" in found[0].text


def test_values_from_elsewhere_are_found_in_copies(story: Story) -> None:
    story.write("1", "a", asked=None)
    assert "REAL" in rules(story.found(copies=both("1", "never")))


def test_a_token_of_a_birth_without_an_answer_may_be_anywhere(story: Story) -> None:
    story.fail("0", "a", asked=None)
    story.write("1", "a", "0", asked=None)
    assert story.found(copies=both("0", "1")) == []


@pytest.mark.parametrize(
    "other",
    [
        {},
        {"s": Held("d", {"w1": []})},
        {"s": Held("another digest", {"w1": ["1"]})},
        {"s": Held("d", {"w1": ["1"]}), "t": Held("d", {})},
    ],
)
def test_members_that_differ_in_the_end_are_found(story: Story, other: dict[str, Held]) -> None:
    story.write("1", "a", asked=None)
    found = story.found(copies={**both("1"), "b": other})
    assert "AGREED" in rules(found)


@pytest.mark.parametrize("tokens", [("1",), (), ("2",), ("2", "1"), ("1", "2", "3")])
def test_an_older_or_another_state_in_the_end_is_found(
    story: Story, tokens: tuple[str, ...]
) -> None:
    story.write("1", "a", asked=None)
    story.write("2", "b", "1")
    story.fail("3", "b", was_sent=False)
    assert rules(story.found(copies=both(*tokens))) == ["KEPT"]


def test_a_session_that_is_gone_without_an_end_is_found(story: Story) -> None:
    story.write("1", "a", asked=None)
    assert rules(story.found(copies=NOTHING)) == ["KEPT"]


def test_a_newer_write_over_a_stale_copy_is_no_loss_but_not_fresh(story: Story) -> None:
    story.write("1", "a", asked=None)
    story.write("2", "b")
    story.read("a", "2")
    assert story.found(CHECKERS, copies=both("2")) == []
    assert lost_appends(History(story.operations)) == 1


def test_a_write_without_an_answer_may_be_the_newest_at_any_time(story: Story) -> None:
    story.write("1", "a", asked=None)
    story.fail("2", "b")
    story.write("3", "a", "1")
    assert story.found(copies=both("1", "3")) == []
    assert story.found(copies=both("1", "2")) == []
    assert story.found(copies=both("1", "3", "2")) == []
    assert rules(story.found(copies=both("1"))) == ["KEPT"]


def test_a_member_that_was_stopped_writes_nothing_later(story: Story) -> None:
    story.write("1", "a", asked=None)
    at = story.fail("2", "b").end
    stops = [Stop("b", at, was_killed=False)]
    assert story.found(copies=both("1", "2"), stops=stops) == []
    story.write("3", "a", "1")
    assert story.found(copies=both("1", "3"), stops=stops) == []
    assert rules(story.found(copies=both("1", "2"), stops=stops)) == ["KEPT"]


def test_of_two_writes_at_about_one_time_either_may_be_the_newest(story: Story) -> None:
    story.write("1", "a", asked=None)
    story.write("2", "b", "1")
    assert rules(story.found(copies=both("1"))) == ["KEPT"]
    assert story.found(copies=both("1"), skew_s=0.15) == []


@pytest.mark.parametrize(
    ("member", "after_s", "was_killed", "is_excused"),
    [
        ("a", 0.3, True, True),
        ("a", 0.7, True, False),
        ("a", 0.3, False, False),
        ("b", 0.3, True, False),
        ("a", -0.2, True, False),
    ],
)
def test_only_a_write_just_before_the_kill_of_its_member_is_excused(
    story: Story, member: str, after_s: float, was_killed: bool, is_excused: bool
) -> None:
    at = story.write("1", "a", asked=None).end
    stops = [Stop(member, at + after_s, was_killed)]
    found = story.found(copies=NOTHING, stops=stops, grace_s=0.5)
    assert rules(found) == ([] if is_excused else ["KEPT"])


def test_an_excused_write_may_also_be_there(story: Story) -> None:
    story.write("1", "b", asked=None)
    at = story.write("2", "a", "1").end
    stops = [Stop("a", at, was_killed=True)]
    assert story.found(copies=both("1"), stops=stops) == []
    assert story.found(copies=both("1", "2"), stops=stops) == []
    assert rules(story.found(copies=NOTHING, stops=stops)) == ["KEPT"]


def test_an_ended_session_that_somebody_holds_is_found(story: Story) -> None:
    story.write("1", "a", asked=None)
    story.end("a")
    assert rules(story.found(copies=both("1"))) == ["DEAD"]
    assert story.found(copies=NOTHING) == []


def test_an_end_without_an_answer_may_have_happened_or_not(story: Story) -> None:
    story.write("1", "a", asked=None)
    story.end("a", status=0, session=None)
    assert story.found(copies=both("1")) == []
    assert story.found(copies=NOTHING) == []


def test_an_end_that_was_lost_with_its_member_is_excused(story: Story) -> None:
    story.write("1", "a", asked=None)
    at = story.end("a").end
    assert story.found(copies=both("1"), stops=[Stop("a", at, was_killed=True)]) == []
    later = [Stop("a", at + 1, was_killed=True)]
    assert rules(story.found(copies=both("1"), stops=later)) == ["DEAD"]


def test_where_a_session_was_ended_it_is_never_served_again(story: Story) -> None:
    story.write("1", "a", asked=None)
    at = story.end("a").end
    story.read("b", "1")
    assert story.found(copies=NOTHING) == []
    story.read("a", "1")
    assert rules(story.found(copies=NOTHING)) == ["DEAD"]
    restarted = [Stop("a", at + 0.1, was_killed=False)]
    assert story.found(copies=NOTHING, stops=restarted) == []


def test_a_request_that_ran_while_the_session_ended_is_no_resurrection(story: Story) -> None:
    story.write("1", "a", asked=None)
    end = story.end("a")
    story.write("2", "a", "1", start=end.start, end=end.end + 0.1)
    assert story.found(copies=NOTHING) == []


def test_once_settled_nobody_serves_what_was_ended(story: Story) -> None:
    story.write("1", "a", asked=None)
    end = story.end("a")
    late = story.read("b", "1")
    assert story.found(copies=NOTHING, settled_at=late.end) == []
    assert rules(story.found(copies=NOTHING, settled_at=end.end + 0.01)) == ["DEAD"]


def test_a_browser_that_does_not_see_its_own_write_is_found(story: Story) -> None:
    story.write("1", "a", asked=None)
    story.write("2", "a", "1")
    story.read("b", "1")
    assert story.found(CHECKERS) == []
    assert rules(story.found()) == ["FRESH", "MONOTONIC"]


def test_what_the_answer_to_a_write_showed_of_others_is_seen(story: Story) -> None:
    story.write("1", "a", asked=None)
    story.write("2", "a", "1")
    theirs = {"attribute": "w2", "browser": "2"}
    story.write("a", "b", values={"w1": ["1", "2"], "w2": ["a"]}, **theirs)
    story.read("a", browser="2", values={"w1": ["1"], "w2": ["a"]})
    assert rules(story.found()) == ["FRESH", "MONOTONIC"]


def test_a_member_that_does_not_know_the_session_of_a_browser_is_found(story: Story) -> None:
    story.write("1", "a", asked=None)
    story.unknown("b", stale=True)
    assert story.found() == []
    story.write("2", "a", "1")
    story.unknown("b")
    assert story.found(CHECKERS) == []
    assert rules(story.found()) == ["KNOWN"]
    story.end("a", start=0.1)
    assert story.found() == []


def test_a_browser_that_only_reads_and_goes_back_in_time_is_found(story: Story) -> None:
    story.write("1", "a", asked=None)
    story.write("2", "a", "1")
    story.read("b", "1", "2", browser="2")
    story.read("a", "1", browser="3")
    assert story.found() == []
    story.read("a", "1", browser="2")
    assert rules(story.found()) == ["MONOTONIC"]


def test_an_attribute_that_is_gone_again_is_found(story: Story) -> None:
    story.write("1", "a", asked=None)
    story.read("b", values={})
    assert rules(story.found()) == ["FRESH", "MONOTONIC"]


def test_after_a_stale_answer_a_browser_may_expect_what_that_showed(story: Story) -> None:
    story.write("1", "a", asked=None)
    story.write("2", "a", "1")
    story.write("3", "a", "1", "2")
    story.read("b", "1", "2", stale=True)
    story.read("b", "1", "2")
    assert story.found() == []
    story.read("b", "1")
    assert rules(story.found()) == ["FRESH", "MONOTONIC"]


def test_what_was_never_answered_is_expected_only_once_it_was_seen(story: Story) -> None:
    story.write("1", "a", asked=None)
    story.fail("2", "b")
    story.read("a", "1")
    story.read("b", "1", "2")
    assert story.found() == []
    story.read("a", "1")
    assert rules(story.found()) == ["MONOTONIC"]


def test_writes_of_two_browsers_at_one_time_are_counted(story: Story) -> None:
    story.write("1", "a", asked=None)
    first = story.write("2", "a", "1")
    assert overlapping(History(story.operations)) == 0
    story.write("3", "b", browser="2", start=first.end - 0.01)
    story.write("4", "b", "3", browser="2")
    assert overlapping(History(story.operations)) == 2


def test_percentiles() -> None:
    durations = [n / 100 for n in range(100)]
    assert (percentile(durations, 0.5), percentile(durations, 0.99)) == (0.5, 0.99)
    assert percentile([3.0], 0.99) == 3.0
    assert math.isnan(percentile([], 0.5))
