"""The application's endpoints under both frameworks; whole clusters are in ``tests/cluster``."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import pytest

from demo_app.visits import BODY_BYTES_MAX
from replsession import ConfigError
from tests.cluster.processes import random_secret, wait_until
from tests.demo_app.clients import FRAMEWORKS, Running
from tests.web.rooms import name_of, without_seen

ALONE = {
    "REPLSESSION_SECRET": "a secret of one test",
    "REPLSESSION_CLUSTER": "none",
    "REPLSESSION_MEMBER_NAME": "member-1",
    "DEMO_MEMBERS": "member-1=http://127.0.0.1:8080 member-2=http://127.0.0.1:8081",
}
NO_SESSION: dict[str, object] = {
    "member": "member-1",
    "session_id": None,
    "url_token": None,
    "is_new": False,
    "counter": 0,
    "attributes": {},
}


@pytest.fixture(params=FRAMEWORKS)
def framework(request: pytest.FixtureRequest) -> str:
    """Return the name of each framework."""
    return str(request.param)


@pytest.fixture
def client(framework: str) -> Any:
    """Return a browser without a session, at 127.0.0.1:8080."""
    return Running(framework, ALONE).client()


def told(client: Any, method: str, path: str, body: object = None) -> dict[str, Any]:
    """Ask for something, and return the JSON object."""
    response = client.request(method, path, json=body) if body else client.request(method, path)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/json"
    assert response.headers["cache-control"] == "no-store"
    found: dict[str, Any] = response.json()
    assert list(found) == list(NO_SESSION)
    return found


def test_the_first_visit_begins_a_session(client: Any) -> None:
    first = told(client, "GET", "/session.json")
    session_id, token = first.pop("session_id"), first.pop("url_token")
    assert first == {
        "member": "member-1",
        "is_new": True,
        "counter": 1,
        "attributes": {"counter": 1},
    }
    assert len(session_id) == 24
    assert name_of(client.cookies["session"]) == name_of(token)


def test_visits_count_and_nothing_else_does(client: Any) -> None:
    assert told(client, "GET", "/session.json")["counter"] == 1
    assert client.get("/").status_code == 200
    assert told(client, "POST", "/attributes", {"colour": "blue"})["counter"] == 2
    assert told(client, "DELETE", "/attributes/colour")["counter"] == 2
    assert told(client, "POST", "/rotate")["counter"] == 2
    assert client.get("/readyz").status_code == 200
    last = told(client, "GET", "/session.json")
    assert (last["counter"], last["is_new"]) == (3, False)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/attributes", b"{}"),
        ("DELETE", "/attributes/name", b""),
        ("POST", "/logout", b""),
        ("POST", "/rotate", b""),
    ],
)
def test_without_a_session_there_is_none(client: Any, method: str, path: str, body: bytes) -> None:
    response = client.request(method, path, content=body)
    assert response.json() == NO_SESSION
    assert "set-cookie" not in response.headers


def test_setting_an_attribute_begins_a_session_too(client: Any) -> None:
    found = told(client, "POST", "/attributes", {"colour": "blue", "list": [1, None, {"a": 2.5}]})
    assert found["is_new"] is True
    assert found["counter"] == 0
    assert found["attributes"] == {"colour": "blue", "list": [1, None, {"a": 2.5}]}
    assert told(client, "GET", "/session.json")["session_id"] == found["session_id"]


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (b"", 400, "the body is no JSON: "),
        (b"{", 400, "the body is no JSON: "),
        (b"\xff", 400, "the body is no JSON: "),
        (b'{"a": NaN}', 400, "the body is no JSON: NaN "),
        (b'{"a": -1e999}', 400, "the body is no JSON: -1e999 "),
        (b'{"a": "\\ud800"}', 400, "the body is no JSON: "),
        (b'{"a": ' + b"[" * 100_000, 400, "the body is no JSON: "),
        (b"[]", 400, "the body must be a JSON object"),
        (b"null", 400, "the body must be a JSON object"),
        (b'"text"', 400, "the body must be a JSON object"),
        (b'{"a": {"b": [18446744073709551616]}}', 400, "unable to serialize attribute 'a.b[0]'"),
        (b'{"a": ' + b"[" * 40 + b"]" * 40 + b"}", 400, "unable to serialize attribute 'a[0][0]"),
        (b'{"\\u0000": 1}', 400, "unable to serialize attribute '\\x00'"),
        (json.dumps({"a": "x" * 300_000}).encode(), 400, "the text of attribute 'a' has 300000"),
        (b'"' + b"x" * BODY_BYTES_MAX + b'"', 413, "the body has more than 2097152 bytes"),
    ],
)
def test_what_may_not_be_stored_is_refused_and_changes_nothing(
    client: Any, body: bytes, status: int, message: str
) -> None:
    before = told(client, "POST", "/attributes", {"colour": "blue"})
    response = client.post("/attributes", content=body)
    assert response.status_code == status
    answer = response.json()
    assert list(answer) == ["error"]
    assert answer["error"].startswith(message)
    after = told(client, "DELETE", "/attributes/nothing")
    for found in (before, after):
        found["url_token"] = name_of(found["url_token"])
    assert after == {**before, "is_new": False}


def test_the_library_says_what_may_be_stored(client: Any) -> None:
    answer = client.post("/attributes", content=b'{"a": 18446744073709551616}').json()
    assert "; what may be stored: None, bool, 64-bit int, float, str, " in answer["error"]


@pytest.mark.parametrize("name", ["a/b", "ä", "a;b=c", "a.png", "?", "100%", "", "jsessionid"])
def test_an_attribute_of_any_name_can_be_removed(client: Any, name: str) -> None:
    told(client, "POST", "/attributes", {"kept": 1, name: 2})
    assert told(client, "DELETE", "/attributes/" + quote(name, safe=""))["attributes"] == {
        "kept": 1
    }


def test_removing_the_last_attribute_ends_the_session(client: Any) -> None:
    told(client, "POST", "/attributes", {"colour": "blue"})
    assert told(client, "DELETE", "/attributes/colour") == NO_SESSION
    assert "session" not in client.cookies


def test_logging_out_ends_the_session(client: Any) -> None:
    before = told(client, "GET", "/session.json")
    assert told(client, "POST", "/logout") == NO_SESSION
    assert "session" not in client.cookies
    after = told(client, "GET", f"/session.json;jsessionid={before['url_token']}")
    assert after["counter"] == 1
    assert after["session_id"] != before["session_id"]


def test_a_new_id_leaves_the_attributes_alone(client: Any) -> None:
    before = told(client, "GET", "/session.json")
    after = told(client, "POST", "/rotate")
    assert after["attributes"] == before["attributes"]
    assert after["session_id"] != before["session_id"]
    names = [name_of(answer["url_token"]) for answer in (before, after)]
    assert name_of(client.cookies["session"]) == names[1] != names[0]
    client.cookies.clear()
    assert told(client, "GET", f"/session.json;jsessionid={before['url_token']}")["counter"] == 1


@pytest.mark.parametrize("value", ["text", None, True, [1], 1.5])
def test_a_counter_that_is_no_number_begins_anew(client: Any, value: object) -> None:
    assert told(client, "POST", "/attributes", {"counter": value})["counter"] == 0
    assert told(client, "GET", "/session.json")["counter"] == 1


def test_a_counter_that_cannot_grow_is_an_error_that_says_so(client: Any) -> None:
    told(client, "POST", "/attributes", {"counter": 2**63 - 1})
    for path in ("/", "/session.json"):
        response = client.get(path)
        assert response.status_code == 400
        assert "'counter'" in response.json()["error"]
    assert told(client, "DELETE", "/attributes/counter") == NO_SESSION


def test_the_page_of_a_url_keeps_the_id(client: Any) -> None:
    token = told(client, "GET", "/session.json")["url_token"]
    client.cookies.clear()
    for count in (2, 3):
        response = client.get(f"/;jsessionid={token}")
        assert response.headers["referrer-policy"] == "no-referrer"
        assert "set-cookie" not in response.headers
        assert f'id="counter">{count}<' in response.text
        page, name = without_seen(response.text), name_of(token)
        assert f'id="again" href="/;jsessionid={name}"' in page
        assert f'data-url="/logout;jsessionid={name}"' in page
        assert f'href="http://localhost:8081/;jsessionid={name}"' in page
    rotated = told(client, "POST", f"/rotate;jsessionid={token}")
    assert rotated["counter"] == 3


def test_the_page_of_a_cookie_has_plain_links(client: Any) -> None:
    token = told(client, "GET", "/session.json")["url_token"]
    page = client.get("/").text
    assert 'id="again" href="/"' in page
    # But for the one to the other member.
    assert page.count(name_of(token) or "no token") == 1


def test_what_is_stored_is_escaped_in_the_page(client: Any) -> None:
    told(client, "POST", "/attributes", {"<b>name</b>": "<script>alert('value')</script>"})
    page = client.get("/").text
    assert "&lt;b&gt;name&lt;/b&gt;" in page
    assert "<b>name" not in page
    assert "<script>alert" not in page


def test_it_is_ready_without_a_cluster(client: Any) -> None:
    response = client.get("/readyz")
    assert response.json() == {"ready": True, "state": "ready"}
    assert response.status_code == 200


def test_it_is_not_ready_before_its_cluster(framework: str) -> None:
    running = Running(framework, ALONE)
    cluster: Any = SimpleNamespace(is_ready=False, state="state transfer")
    running.place = replace(running.place, cluster=cluster)
    response = running.client().get("/readyz")
    assert response.json() == {"ready": False, "state": "state transfer"}
    assert response.status_code == 503


def test_it_becomes_ready_with_its_cluster_and_asking_is_no_session_work(framework: str) -> None:
    secret = random_secret()
    running = Running(
        framework, {"REPLSESSION_SECRET": secret, "REPLSESSION_MEMBER_NAME": "member-1"}
    )
    cluster = running.place.cluster
    assert cluster is not None
    with running.client() as client:
        told(client, "GET", "/session.json")
        filtered = cluster.metrics.requests_filtered

        def ready() -> bool:
            response = client.get("/readyz")
            assert response.json()["ready"] is (response.status_code == 200)
            assert "vary" not in response.headers
            return bool(response.status_code == 200)

        wait_until(ready, "ready")
        assert cluster.metrics.requests_filtered > filtered
        assert told(client, "GET", "/session.json")["member"] == "member-1"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nothing", 404), ("GET", "/logout", 405), ("PUT", "/attributes", 405)],
)
def test_other_errors_are_json_too(client: Any, method: str, path: str, status: int) -> None:
    response = client.request(method, path)
    assert response.status_code == status
    assert list(response.json()) == ["error"]


@pytest.mark.parametrize("environment", [{}, {"REPLSESSION_SECRET": ""}])
def test_a_missing_secret_is_named_with_a_way_to_make_one(
    framework: str, environment: dict[str, str]
) -> None:
    with pytest.raises(ConfigError, match=r"REPLSESSION_SECRET: .*token_urlsafe"):
        Running(framework, environment)


def test_a_wrong_variable_is_named(framework: str) -> None:
    with pytest.raises(ConfigError, match="REPLSESSION_CLUSTER: got 'lam:shop'"):
        Running(framework, {**ALONE, "REPLSESSION_CLUSTER": "lam:shop"})
