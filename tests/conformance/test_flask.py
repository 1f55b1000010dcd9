"""
What Flask promises of its sessions holds for ours, as Flask's documentation says it.

Everything here also holds for Flask's own session, which is tested beside ours, but for what the
documentation of this project says is different.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import flask
import pytest
from flask import Flask
from markupsafe import Markup
from werkzeug.http import parse_date

import replsession
from replsession.flask import ReplicatedSession

ARE_TYPES_STORED = hasattr(replsession, "register")


@pytest.fixture(params=["ours", "Flask's own"])
def app(request: pytest.FixtureRequest) -> Flask:
    """An application with our sessions, or with Flask's."""
    app = Flask(__name__, root_path=str(request.path.parent))
    app.config |= {"TESTING": True, "SECRET_KEY": "test key"}
    if request.param == "ours":
        app.config["REPLSESSION_CLUSTER"] = "none"
        ReplicatedSession(app)
    return app


def skip_if_types_are_missing(request: pytest.FixtureRequest) -> None:
    """Skip a test of ours that stores tuples and the like."""
    if "ours" in request.node.name and not ARE_TYPES_STORED:
        pytest.skip("sessions of this version store no tuples")


def page(app: Flask, path: str, act: Callable[[], Any]) -> None:
    """Give an application a page that does this."""

    def view() -> Any:
        said = act()
        return said if isinstance(said, dict | list | str | flask.Response) else "done"

    app.add_url_rule(path, endpoint=path, view_func=view)


def put(**values: Any) -> Callable[[], None]:
    return lambda: flask.session.update(values)


def content() -> dict[str, Any]:
    return dict(flask.session)


def test_set_and_get(app: Flask) -> None:
    def set_them() -> None:
        assert not flask.session.accessed or not flask.session.modified
        flask.session["value"] = "42"
        assert flask.session.accessed
        assert flask.session.modified

    page(app, "/set", set_them)
    page(app, "/get", lambda: flask.session.get("value", "None"))
    client = app.test_client()
    client.get("/set")
    assert client.get("/get").text == "42"


def test_the_path_of_the_cookie_is_that_of_the_application(app: Flask) -> None:
    app.config["APPLICATION_ROOT"] = "/foo"
    page(app, "/", put(testing=42))
    answer = app.test_client().get("/", "http://example.com:8080/foo")
    assert "path=/foo" in answer.headers["set-cookie"].lower()


def test_the_cookie_has_all_settings_and_its_removal_too(app: Flask) -> None:
    app.config |= {
        "SESSION_COOKIE_NAME": "sid",
        "SESSION_COOKIE_DOMAIN": ".example.com",
        "SESSION_COOKIE_HTTPONLY": False,
        "SESSION_COOKIE_SECURE": True,
        "SESSION_COOKIE_PARTITIONED": True,
        "SESSION_COOKIE_SAMESITE": "Lax",
        "SESSION_COOKIE_PATH": "/",
        "APPLICATION_ROOT": "/test",
    }
    page(app, "/", put(testing=42))
    page(app, "/clear", lambda: flask.session.pop("testing", None))
    client = app.test_client()
    for path, start in (("/", "sid="), ("/clear", "sid=;")):
        answer = client.get(path, "http://www.example.com:8080/test/")
        cookie = answer.headers["set-cookie"].lower()
        assert cookie.startswith(start)
        # A leading dot has no meaning for browsers.
        assert "domain=example.com" in cookie
        assert "path=/" in cookie
        assert "secure" in cookie
        assert "partitioned" in cookie
        assert "samesite=lax" in cookie
        assert "httponly" not in cookie
    assert "max-age=0" in cookie


@pytest.mark.parametrize("site", ["Strict", "Lax", "None", None])
def test_the_same_site_attribute(app: Flask, site: str | None) -> None:
    app.config["SESSION_COOKIE_SAMESITE"] = site
    page(app, "/", put(testing=42))
    cookie = app.test_client().get("/").headers["set-cookie"].lower()
    assert (f"samesite={str(site).lower()}" in cookie) is (site is not None)


def test_a_same_site_attribute_that_is_none_is_refused(app: Flask) -> None:
    app.config["SESSION_COOKIE_SAMESITE"] = "invalid"
    page(app, "/", put(testing=42))
    with pytest.raises(ValueError, match="SameSite"):
        app.test_client().get("/")


def test_without_a_secret_key_it_says_so(app: Flask) -> None:
    app.secret_key = None

    def both() -> None:
        assert flask.session.get("missing") is None
        with pytest.raises(RuntimeError, match=r"secret_key|secret key"):
            flask.session["foo"] = 42

    page(app, "/", both)
    assert app.test_client().get("/").status_code == 200


def test_a_permanent_session_has_a_date_and_another_one_none(app: Flask) -> None:
    is_permanent = [True]

    def login() -> None:
        flask.session["test"] = 42
        flask.session.permanent = is_permanent[0]

    page(app, "/", login)
    page(app, "/test", lambda: str(flask.session.permanent))
    client = app.test_client()
    answer = client.get("/")
    match = re.search(r"(?i)\bexpires=([^;]+)", answer.headers["set-cookie"])
    assert match is not None
    expires = parse_date(match.group(1))
    wanted = datetime.now(UTC) + app.permanent_session_lifetime
    assert expires is not None
    assert (expires.year, expires.month, expires.day) == (wanted.year, wanted.month, wanted.day)
    assert client.get("/test").text == "True"
    is_permanent[0] = False
    answer = app.test_client().get("/")
    assert "set-cookie" in answer.headers
    assert "expires" not in answer.headers["set-cookie"].lower()


def test_the_session_is_saved_after_all_functions_for_the_response(app: Flask) -> None:
    @app.after_request
    def after(response: flask.Response) -> flask.Response:
        flask.session["foo"] = 42
        return response

    page(app, "/", lambda: repr(flask.session.get("foo")))
    client = app.test_client()
    assert client.get("/").text == "None"
    assert client.get("/").text == "42"


@pytest.mark.parametrize("is_stored", [True, False])
def test_values_come_back_as_the_same_types(
    app: Flask, request: pytest.FixtureRequest, is_stored: bool
) -> None:
    values: dict[str, Any] = {"n": 1, "b": b"\xff", "d": {"t": "x"}, "l": [1, None, 1.5, True]}
    if is_stored:
        skip_if_types_are_missing(request)
        now = datetime.now(UTC).replace(microsecond=0)
        values |= {
            "t": (1, 2, 3),
            "m": Markup("<b>"),
            "u": uuid.uuid4(),
            "dt": now,
            "nested": [{"t": (1,)}, Markup("x")],
            " t": {"inside": ()},
            "di": {" t": [1]},
        }
    client = app.test_client()
    with client.session_transaction() as session:
        session.update(values)
    with client.session_transaction() as session:
        assert dict(session) == values
        for name, value in values.items():
            assert type(session[name]) is type(value)


@pytest.mark.parametrize(
    ("is_permanent", "renews", "is_sent"),
    [(True, False, False), (True, True, True), (False, True, False), (False, False, False)],
)
def test_a_request_renews_the_cookie_of_a_permanent_session(
    app: Flask, is_permanent: bool, renews: bool, is_sent: bool
) -> None:
    app.config["SESSION_REFRESH_EACH_REQUEST"] = renews

    def login() -> None:
        flask.session["foo"] = 42
        flask.session.permanent = is_permanent

    page(app, "/login", login)
    page(app, "/", lambda: "nothing")
    client = app.test_client()
    assert "set-cookie" in client.get("/login").headers
    answer = client.get("/")
    assert ("set-cookie" in answer.headers) is is_sent
    # Whoever gets a cookie must not share the page with others.
    assert (answer.headers.get("Vary") == "Cookie") is is_sent


def test_vary_says_whether_the_session_was_touched(app: Flask) -> None:
    def both() -> str:
        "value" in flask.session  # noqa: B015
        flask.session.setdefault("value", 1)
        return "x"

    page(app, "/set", put(value=1))
    page(app, "/get", lambda: str(flask.session.get("value")))
    page(app, "/getitem", lambda: str(flask.session["value"]))
    page(app, "/setdefault", both)
    page(app, "/clear", lambda: flask.session.clear())
    page(app, "/no", lambda: "nothing")

    def with_vary() -> flask.Response:
        response = flask.Response()
        response.vary.update(["Accept-Encoding", "Accept-Language"])
        flask.session["value"] = 2
        return response

    page(app, "/vary", with_vary)
    client = app.test_client()
    assert client.get("/no").headers.get("Vary") is None
    for path in ("/set", "/get", "/getitem", "/setdefault", "/clear"):
        assert client.get(path).headers.getlist("Vary") == ["Cookie"], path
    answer = client.get("/vary")
    assert {
        part.strip() for line in answer.headers.getlist("Vary") for part in line.split(",")
    } == {
        "Accept-Encoding",
        "Accept-Language",
        "Cookie",
    }


def test_flashes_come_once_and_are_there_within_their_request(
    app: Flask, request: pytest.FixtureRequest
) -> None:
    skip_if_types_are_missing(request)

    @app.route("/")
    def index() -> str:
        flask.flash("Hello World")
        flask.flash("Hello World", "error")
        flask.flash(Markup("<em>Testing</em>"), "warning")
        return ""

    @app.route("/test")
    def test() -> list[Any]:
        return [[*message] for message in flask.get_flashed_messages(with_categories=True)]

    @app.route("/both")
    def both() -> list[Any]:
        flask.flash("now")
        return [*flask.get_flashed_messages(), *flask.get_flashed_messages()]

    client = app.test_client()
    client.get("/")
    first = client.get("/test").json
    assert first == [
        ["message", "Hello World"],
        ["error", "Hello World"],
        ["warning", "<em>Testing</em>"],
    ]
    assert client.get("/test").json == []
    assert client.get("/both").json == ["now", "now"]
    assert client.get("/test").json == []


def test_session_transactions_read_and_write(app: Flask) -> None:
    page(app, "/", lambda: str(flask.session["foo"]))
    with app.test_client() as client:
        with client.session_transaction() as session:
            assert len(session) == 0
            session["foo"] = [42]
            assert len(session) == 1
        assert client.get("/").text == "[42]"
        with client.session_transaction() as session:
            assert session["foo"] == [42]
            session["foo"].append(43)
            session.modified = True
        # Inside of a request its own session is the one that counts.
        with app.test_request_context():
            with client.session_transaction() as session:
                assert session is not flask.session
                assert session["foo"] == [42, 43]


def test_a_session_transaction_without_a_secret_key_is_refused(app: Flask) -> None:
    app.secret_key = None
    with pytest.raises(RuntimeError, match="Session backend did not open a session"):
        with app.test_client().session_transaction():
            pass


def test_a_client_that_keeps_its_context_sees_the_session(app: Flask) -> None:
    page(app, "/", put(testing=42))
    with app.test_client() as client:
        client.get("/")
        assert flask.session["testing"] == 42


def test_secrets_that_were_replaced_verify_as_long_as_they_are_kept(app: Flask) -> None:
    page(app, "/set", put(a=1))
    page(app, "/get", content)
    client = app.test_client()
    app.secret_key, app.config["SECRET_KEY_FALLBACKS"] = "0 key", ["-1 key", "-2 key"]
    client.get("/set")
    assert client.get("/get").json == {"a": 1}
    app.secret_key = "? key"
    assert client.get("/get").json == {}
    app.secret_key, app.config["SECRET_KEY_FALLBACKS"] = "+1 key", ["0 key", "-1 key"]
    assert client.get("/get").json == {"a": 1}
    # What is signed anew is signed with the newest.
    client.get("/set")
    app.config["SECRET_KEY_FALLBACKS"] = []
    assert client.get("/get").json == {"a": 1}


@pytest.mark.parametrize("lifetime", [timedelta(minutes=10), 600])
def test_a_lifetime_may_be_a_number(app: Flask, lifetime: Any) -> None:
    app.config["PERMANENT_SESSION_LIFETIME"] = lifetime
    with app.test_client().session_transaction() as session:
        session.permanent = True
    assert app.permanent_session_lifetime == timedelta(minutes=10)


def test_modified_may_be_set_by_hand(app: Flask) -> None:
    def touch() -> None:
        flask.session.modified = True

    page(app, "/set", put(a=1))
    page(app, "/touch", touch)
    client = app.test_client()
    client.get("/set")
    assert "set-cookie" in client.get("/touch").headers


def test_an_application_may_decide_otherwise_in_a_subclass() -> None:
    class Mine(ReplicatedSession):
        def get_cookie_name(self, app: Flask) -> str:
            return "mine"

        def should_set_cookie(self, app: Flask, session: Any) -> bool:
            return True

    app = Flask(__name__)
    app.config |= {"SECRET_KEY": "x", "REPLSESSION_CLUSTER": "none"}
    Mine(app)
    page(app, "/set", put(a=1))
    page(app, "/", lambda: "nothing")
    client = app.test_client()
    assert client.get("/set").headers["set-cookie"].startswith("mine=")
    assert client.get("/").headers["set-cookie"].startswith("mine=")
