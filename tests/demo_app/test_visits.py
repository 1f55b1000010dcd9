"""What the counter page does with a session, without a framework."""

from __future__ import annotations

from typing import Any

import pytest

from demo_app.visits import Place, count_visit, counter_of, json_object, place
from replsession import Cluster, ConfigError, Session

PLACE = Place("secret", None, "member-1", ())


@pytest.mark.parametrize(
    ("counter", "read"), [(3, 3), (0, 0), (None, 0), ("7", 0), (True, 0), (2.0, 0), ([1], 0)]
)
def test_only_a_whole_number_is_a_count(counter: object, read: int) -> None:
    session = Session(counter=counter)
    assert counter_of(session) == read
    assert count_visit(session)["counter"] == read + 1


def test_an_empty_session_is_told_as_none() -> None:
    assert PLACE.told(Session()) == {
        "member": "member-1",
        "session_id": None,
        "url_token": None,
        "is_new": False,
        "counter": 0,
        "attributes": {},
    }


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"", "the body is no JSON"),
        (b"\xff", "the body is no JSON"),
        (b'{"a": Infinity}', "Infinity is no number in JSON"),
        (b"[1]", "must be a JSON object"),
    ],
)
def test_only_a_json_object_will_do(body: bytes, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        json_object(body)


def test_the_environment_says_where_it_is() -> None:
    environment = {
        "REPLSESSION_SECRET": "s",
        "REPLSESSION_MEMBER_NAME": "a",
        "DEMO_MEMBERS": "a=http://a b=http://b",
    }
    here = place(environment)
    assert isinstance(here.cluster, Cluster)
    assert [each.name for each in here.neighbours] == ["a", "b"]
    assert here.member == "a"
    assert here.state == ({"ready": False, "state": "not started"}, 503)
    alone = place({**environment, "REPLSESSION_CLUSTER": "none"})
    assert (alone.cluster, alone.member) == (None, "a")
    assert alone.state == ({"ready": True, "state": "ready"}, 200)


@pytest.mark.parametrize("environment", [{}, {"REPLSESSION_SECRET": ""}])
def test_a_missing_secret_is_named(environment: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="REPLSESSION_SECRET"):
        place(environment)
