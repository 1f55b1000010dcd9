"""Looks: what is wrong in them, and rates between two."""

from __future__ import annotations

import pytest

from replsession.cli.status.looks import RATES, seen
from replsession.metrics import Metrics
from tests.cli.status.situations import look, other, status


def test_with_one_look_rates_are_those_since_the_start() -> None:
    (one,) = seen(look(status("left", other())), None, 100.0).told
    assert (one.rates["opens"], one.rates["commits"], one.over_s) == (10.0, 1.0, 7200.0)


def test_with_two_they_are_those_in_between() -> None:
    first = seen(look(status()), None, 100.0)
    later = status()
    later["metrics"]["opens"] += 50
    (one,) = seen(look(later), first, 104.0).told
    assert (one.rates["opens"], one.rates["commits"], one.over_s) == (12.5, 0.0, 4.0)


def test_a_member_that_has_started_again_counts_from_its_own_start() -> None:
    first = seen(look(status()), None, 100.0)
    again = status(id="ff" * 8, age_s=2.0)
    again["metrics"]["opens"] = 6
    (one,) = seen(look(again), first, 104.0).told
    assert (one.rates["opens"], one.over_s) == (3.0, 2.0)


def test_a_member_that_has_just_begun_divides_by_nothing() -> None:
    (one,) = seen(look(status(age_s=0.0)), None, 1.0).told
    assert one.rates["opens"] == pytest.approx(72_000_000)


def test_every_rate_is_that_of_a_counter() -> None:
    assert set(RATES) <= set(Metrics().as_dict())


def test_a_member_that_two_paths_lead_to_is_one() -> None:
    assert len(seen(look(status(), status()), None, 1.0).told) == 1


def test_members_stand_by_their_cluster_the_oldest_first() -> None:
    found = seen(
        look(status("b", age_s=1), status("a", age_s=9), status("c", cluster="local")), None, 1.0
    ).clusters
    assert list(found) == ["local", "shop"]
    assert [one.status["member"]["name"] for one in found["shop"]] == ["a", "b"]


def test_all_is_well() -> None:
    one = seen(look(status("left", other("right")), status("right", other("left"))), None, 1.0)
    assert (one.wrong, one.exit_code) == ((), 0)


def test_nobody_answered() -> None:
    assert seen(look(problems=("x: y",)), None, 1.0).exit_code == 2
    assert seen(look(), None, 1.0).exit_code == 2


@pytest.mark.parametrize(
    ("told", "sentence"),
    [
        (
            [status(ready=False, state="cannot start: Address already in use")],
            "left is not ready: cannot start: Address already in use",
        ),
        ([status("left", other(state="suspected"))], "left does not hear right, and asks for it"),
        (
            [status("left", other(state="unreachable", via="third"))],
            "left cannot reach right, but through third",
        ),
        ([status("left", other(ready=False))], "right is not ready"),
    ],
)
def test_what_is_wrong_is_said_once(told: list[dict[str, object]], sentence: str) -> None:
    one = seen(look(*told), None, 1.0)
    assert (one.wrong, one.exit_code) == ((sentence,), 1)


def test_a_member_that_speaks_for_itself_is_not_spoken_of() -> None:
    told = [
        status("left", other(ready=False)),
        status("right", ready=False, state="state transfer"),
    ]
    assert seen(look(*told), None, 1.0).wrong == ("right is not ready: state transfer",)


def test_who_did_not_answer_is_wrong() -> None:
    one = seen(look(status(), problems=("/run/x.sock: no answer",)), None, 1.0)
    assert (one.wrong, one.exit_code) == (("/run/x.sock: no answer",), 1)
