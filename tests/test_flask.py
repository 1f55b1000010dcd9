"""The front door for Flask: what is ours of it, in Flask's own test client."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import flask
import pytest
from flask import Flask
from werkzeug.exceptions import InternalServerError, ServiceUnavailable
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.test import TestResponse

from replsession import Cluster, ConfigError, UnserializableAttribute
from replsession.channel import member as member_module
from replsession.channel import waiting
from replsession.config import Timing
from replsession.flask import ReplicatedSession, encode_url
from replsession.messages import Acknowledge, RecordInquiry, StateCredit
from replsession.web.configured import ConfiguredApplication
from tests.channel.running import free_port
from tests.web.rooms import App, name_of, without_seen
from tests.web.test_manager import Clock
from tests.web.wired import Wired

SECRET = "short"


def made(**config: Any) -> Flask:
    """Return an application of one process alone, with a counter and a page for each deed."""
    app = Flask(__name__)
    app.testing = True
    app.config |= {"SECRET_KEY": SECRET, "REPLSESSION_CLUSTER": "none", **config}
    ReplicatedSession(app)
    app.add_url_rule("/counter", view_func=counter)
    app.add_url_rule("/content", view_func=content)
    return app


def counter() -> dict[str, Any]:
    flask.session["n"] = flask.session.get("n", 0) + 1
    return dict(flask.session)


def content() -> dict[str, Any]:
    return dict(flask.session)


def does(app: Flask, act: Callable[[], object], path: str = "/act") -> TestResponse:
    """Ask for a page that does this; the client keeps nothing from before."""

    def view() -> str:
        act()
        return "done"

    app.add_url_rule(path, endpoint=path, view_func=view)
    return app.test_client().get(path)


def cookie_of(answer: TestResponse) -> str | None:
    cookies = [one for one in answer.headers.getlist("Set-Cookie") if one.startswith("session=")]
    assert len(cookies) <= 1
    return cookies[0].partition(";")[0].removeprefix("session=") if cookies else None


def extension(app: Flask) -> ConfiguredApplication:
    configured = app.extensions["replsession"]
    assert isinstance(configured, ConfiguredApplication)
    return configured


def count(app: Flask) -> int:
    application = extension(app).application
    assert application is not None
    records = application.channel.member.node.store.records()
    return sum(record.destroyed is None for record in records)


@pytest.fixture
def app() -> Flask:
    """An application of one process alone."""
    return made()


# Set-up.


def test_a_factory_may_set_it_up_before_the_configuration_is_there() -> None:
    sessions = ReplicatedSession()

    def create_app(secret: str) -> Flask:
        app = Flask(__name__)
        sessions.init_app(app)
        app.add_url_rule("/counter", view_func=counter)
        app.config |= {"SECRET_KEY": secret, "REPLSESSION_CLUSTER": "none"}
        return app

    one, two = create_app("one"), create_app("two")
    client = one.test_client()
    assert [client.get("/counter").json["n"] for _ in range(2)] == [1, 2]  # type: ignore[index]
    # Each application has sessions and secrets of its own.
    stranger = two.test_client()
    cookie = client.get_cookie("session")
    assert cookie is not None
    stranger.set_cookie("session", cookie.value)
    assert stranger.get("/counter").json == {"n": 1}


def test_setting_it_up_starts_nothing() -> None:
    cluster = Cluster.local(port=free_port())
    app = Flask(__name__)
    app.secret_key = SECRET
    ReplicatedSession(app, cluster=cluster, required=True)
    assert cluster.state == "not started"
    assert extension(app).cluster is cluster
    assert cluster.state == "not started"


def test_the_first_request_starts_the_member_and_readiness_is_known() -> None:
    cluster = Cluster.local(port=free_port(), multicast=None)
    app = made(REPLSESSION_CLUSTER=cluster)
    app.test_client().get("/counter")
    assert extension(app).cluster is cluster
    assert cluster.state != "not started"
    cluster.attach(SECRET, required=False).stop_thread()


def test_an_option_that_is_not_known_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"clusters.*did you mean cluster\?"):
        ReplicatedSession(Flask(__name__), clusters=None)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("config", "field", "hint"),
    [
        ({"REPLSESSION_CLUSTR": "none"}, "REPLSESSION_CLUSTR", "REPLSESSION_CLUSTER?"),
        ({"REPLSESSION_CONCERN": "some"}, "REPLSESSION_CONCERN", "async"),
        ({"REPLSESSION_CLUSTER": "lan"}, "REPLSESSION_CLUSTER", "lan:NAME"),
        ({"REPLSESSION_CLUSTER": 5}, "REPLSESSION_CLUSTER", "Cluster"),
        ({"REPLSESSION_PORT": "x"}, "REPLSESSION_PORT", "a whole number"),
        ({"SECRET_KEY": object()}, "SECRET_KEY", "a text"),
    ],
)
def test_a_wrong_setting_is_named_as_it_stands_in_the_configuration(
    config: dict[str, Any], field: str, hint: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        made(**config).test_client().get("/counter")
    assert caught.value.field == field
    assert hint in str(caught.value)


# The session.


def test_a_counter_counts(app: Flask) -> None:
    client = app.test_client()
    assert [client.get("/counter").json["n"] for _ in range(3)] == [1, 2, 3]  # type: ignore[index]
    assert app.test_client().get("/counter").json == {"n": 1}


def test_it_has_a_public_id_that_rotates_and_ends(app: Flask) -> None:
    ids: list[str | None] = []

    def note(act: Callable[[], object] = lambda: None) -> Callable[[], str]:
        def view() -> str:
            act()
            ids.append(flask.session.sid)  # type: ignore[attr-defined]
            return ""

        return view

    app.add_url_rule("/sid", endpoint="sid", view_func=note())
    rotate = lambda: flask.session.rotate_id()  # type: ignore[attr-defined]  # noqa: E731
    app.add_url_rule("/rotate", endpoint="rotate", view_func=note(rotate))
    end = lambda: flask.session.invalidate()  # type: ignore[attr-defined]  # noqa: E731
    app.add_url_rule("/end", endpoint="end", view_func=note(end))
    client = app.test_client()
    client.get("/sid")
    client.get("/counter")
    old = client.get_cookie("session")
    for path in ("/sid", "/rotate", "/sid", "/end", "/sid"):
        client.get(path)
    none, first, rotated, again, ended, gone = ids
    assert none is ended is gone is None
    assert first is not None and rotated == again != first
    assert client.get_cookie("session") is None
    assert old is not None
    client.set_cookie("session", old.value)
    assert client.get("/content").json == {}
    assert count(app) == 0


def test_new_says_whether_the_client_knows_it(app: Flask) -> None:
    app.add_url_rule("/new", view_func=lambda: [flask.session.new], endpoint="new")
    client = app.test_client()
    assert client.get("/new").json == [True]
    client.get("/counter")
    assert client.get("/new").json == [False]


def test_a_change_in_place_is_kept_without_a_word(app: Flask) -> None:
    with (client := app.test_client()).session_transaction() as session:
        session["cart"] = [{"tags": []}]
    app.add_url_rule(
        "/add", endpoint="add", view_func=lambda: str(flask.session["cart"][0]["tags"].append(1))
    )
    client.get("/add")
    assert client.get("/content").json == {"cart": [{"tags": [1]}]}


@pytest.mark.parametrize(
    ("act", "varies"),
    [
        (lambda: None, False),
        (lambda: "n" in flask.session, True),
        (lambda: len(flask.session), True),
        (lambda: bool(flask.session), True),
        (lambda: flask.session.get("n"), True),
    ],
)
def test_reading_sends_no_cookie_and_varies(
    app: Flask, act: Callable[[], object], varies: bool
) -> None:
    answer = does(app, act)
    assert cookie_of(answer) is None
    assert answer.headers.getlist("Vary") == (["Cookie"] if varies else [])
    assert count(app) == 0


def test_vary_of_the_application_is_merged(app: Flask) -> None:
    def view() -> flask.Response:
        flask.session["n"] = 1
        response = flask.make_response("x")
        response.vary.add("Accept")
        return response

    app.add_url_rule("/vary", view_func=view)
    answer = app.test_client().get("/vary")
    assert {value.strip() for value in answer.headers["Vary"].split(",")} == {"Accept", "Cookie"}


def test_what_cannot_be_stored_is_an_error_of_the_request(
    app: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    @app.errorhandler(500)
    def our_page(error: InternalServerError) -> tuple[str, int]:
        flask.session["told"] = True
        return str(error.original_exception), 400

    with pytest.raises(UnserializableAttribute, match="'n'"):
        does(app, lambda: flask.session.update(n=object()))
    app.testing = False
    answer = app.test_client().get("/act")
    assert (answer.status_code, cookie_of(answer)) == (400, None)
    assert "unable to serialize attribute 'n'" in answer.text
    assert "finalizing" not in caplog.text
    assert count(app) == 0


def test_a_view_may_be_a_coroutine(app: Flask) -> None:
    async def view() -> dict[str, Any]:
        flask.session["n"] = flask.session.get("n", 0) + 1
        return dict(flask.session)

    app.add_url_rule("/async", view_func=view)
    client = app.test_client()
    assert [client.get("/async").json for _ in range(2)] == [{"n": 1}, {"n": 2}]


def test_a_thread_that_outlives_the_response_may_commit(app: Flask) -> None:
    kept: list[Any] = []
    client = app.test_client()
    client.get("/counter")

    def view() -> str:
        kept.append(flask.session._get_current_object())  # type: ignore[attr-defined]
        return ""

    app.view_functions["content"], page = view, app.view_functions["content"]
    client.get("/content")
    kept[0]["late"] = True
    kept[0].commit_blocking()
    app.view_functions["content"] = page
    assert client.get("/content").json == {"n": 1, "late": True}


# Later than the response.


def streaming(app: Flask, *, with_context: bool) -> None:
    """Give an application a page that writes while it streams."""

    def view() -> flask.Response:
        session = flask.session._get_current_object()  # type: ignore[attr-defined]

        def chunks() -> Iterator[str]:
            yield "a"
            session["late"] = True
            yield "b"
            session["last"] = True

        return flask.Response(flask.stream_with_context(chunks()) if with_context else chunks())

    app.add_url_rule("/stream", view_func=view)


@pytest.mark.parametrize("with_context", [True, False])
def test_what_is_written_while_streaming_is_kept(app: Flask, with_context: bool) -> None:
    streaming(app, with_context=with_context)
    client = app.test_client()
    client.get("/counter")
    assert client.get("/stream").text == "ab"
    assert client.get("/content").json == {"n": 1, "late": True, "last": True}


@pytest.mark.parametrize("with_context", [True, False])
def test_a_stream_that_the_client_gives_up_keeps_what_it_wrote(
    app: Flask, with_context: bool
) -> None:
    streaming(app, with_context=with_context)
    client = app.test_client()
    client.get("/counter")
    answer = client.get("/stream")
    assert answer.iter_encoded() is not None
    chunks = iter(answer.response)
    assert [next(chunks), next(chunks)] == [b"a", b"b"]
    answer.close()
    assert client.get("/content").json == {"n": 1, "late": True}


@pytest.mark.parametrize("with_context", [True, False])
def test_what_was_streamed_is_there_before_the_end_is_seen(app: Flask, with_context: bool) -> None:
    streaming(app, with_context=with_context)
    client = app.test_client()
    client.get("/counter")
    answer = client.get("/stream")
    assert list(answer.response) == [b"a", b"b"]
    assert client.get("/content").json == {"n": 1, "late": True, "last": True}
    answer.close()


@pytest.mark.parametrize("is_file", [True, False])
def test_what_teardown_functions_write_is_kept(app: Flask, is_file: bool) -> None:
    def view() -> Any:
        return flask.send_file(io.BytesIO(b"x"), "text/plain") if is_file else "x"

    app.add_url_rule("/page", view_func=view)

    @app.teardown_request
    def late(error: BaseException | None) -> None:
        if flask.request.path == "/page":
            flask.session["torn"] = "down"

    client = app.test_client()
    client.get("/counter")
    client.get("/page")
    assert client.get("/content").json == {"n": 1, "torn": "down"}


def test_what_a_teardown_function_writes_wrongly_does_not_take_the_response(
    app: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    @app.teardown_request
    def late(error: BaseException | None) -> None:
        flask.session["torn"] = object()

    client = app.test_client()
    assert client.get("/counter").json == {"n": 1}
    assert "'torn'" in caplog.text


def test_a_file_is_handed_to_the_server_as_it_is(app: Flask) -> None:
    wrapped: list[object] = []

    class Wrapper:
        def __init__(self, file: object, block_size: int = 8192) -> None:
            wrapped.append(self)

        def __iter__(self) -> Iterator[bytes]:
            yield b"x"

    def view() -> flask.Response:
        flask.session["n"] = 1
        return flask.send_file(io.BytesIO(b"x"), "text/plain")

    app.add_url_rule("/file", view_func=view)
    environ = app.test_request_context("/file").request.environ
    environ["wsgi.file_wrapper"] = Wrapper
    assert [app.wsgi_app(environ, lambda *said: lambda data: None)] == wrapped


# The path.


def links() -> list[str]:
    flask.session["n"] = 1
    return [
        flask.url_for("links"),
        encode_url(flask.url_for("links")),
        flask.render_template_string("{{ encode_url(url_for('links')) }}"),
        flask.render_template_string("{{ session.encode_url(url_for('links')) }}"),
    ]


def tracked() -> Flask:
    """An application that takes ids from URLs."""
    app = made(REPLSESSION_URL_TRACKING=True)
    app.add_url_rule("/links", view_func=links)
    return app


def test_a_url_carries_a_session_before_the_routing() -> None:
    app = tracked()
    answer = app.test_client().get("/links")
    bare, *encoded = answer.json  # type: ignore[misc]
    assert bare == "/links"
    wanted = f"/links;jsessionid={name_of(cookie_of(answer))}"
    assert [without_seen(url) for url in encoded] == [wanted] * 3
    second = app.test_client().get(encoded[0].replace("links", "counter"))
    assert second.json == {"n": 2}
    assert cookie_of(second) is None
    assert second.headers["Referrer-Policy"] == "no-referrer"
    # With a cookie there is no need.
    client = app.test_client()
    client.get("/links")
    assert client.get("/links").json == ["/links"] * 4


def test_a_context_of_a_test_knows_the_id_too() -> None:
    app = tracked()
    url = app.test_client().get("/links").json[1]  # type: ignore[index]
    with app.test_request_context(url):
        assert flask.session["n"] == 1


def test_without_tracking_an_id_in_the_url_is_nothing(app: Flask) -> None:
    assert app.test_client().get("/counter;jsessionid=x").status_code == 404


def test_programs_around_the_application_stay_outside() -> None:
    app = tracked()
    app.wsgi_app = ProxyFix(app.wsgi_app, x_host=1)  # type: ignore[method-assign]
    url = app.test_client().get("/links").json[1]  # type: ignore[index]
    assert app.test_client().get(url).status_code == 200


def test_a_filtered_path_does_no_session_work(app: Flask) -> None:
    app.add_url_rule("/logo.png", endpoint="logo", view_func=lambda: "x")
    client = app.test_client()
    with client.session_transaction() as session:
        session.permanent = True
    application = extension(app).application
    assert application is not None
    opened = application.manager.metrics.as_dict()
    answer = client.get("/logo.png")
    assert (cookie_of(answer), answer.headers.getlist("Vary")) == (None, [])
    changed = {
        name: value
        for name, value in application.manager.metrics.as_dict().items()
        if value != opened[name]
    }
    assert changed == {"requests_filtered": 1}


# How long.


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock that is put in the place of that of members."""
    moved = Clock()
    monkeypatch.setattr(member_module, "time", moved)
    return moved


@pytest.mark.parametrize(
    ("config", "is_permanent", "idle_s"),
    [
        ({}, False, 1800),
        ({}, True, 31 * 24 * 3600),
        ({"PERMANENT_SESSION_LIFETIME": timedelta(minutes=5)}, True, 300),
        ({"PERMANENT_SESSION_LIFETIME": 60}, True, 60),
        ({"PERMANENT_SESSION_LIFETIME": 60}, False, 1800),
        ({"REPLSESSION_MAX_INACTIVE_INTERVAL": 7}, True, 7),
        ({"REPLSESSION_MAX_INACTIVE_INTERVAL": 7}, False, 7),
        ({"REPLSESSION_MAX_INACTIVE_INTERVAL": None}, False, None),
    ],
)
def test_how_long_a_session_lives_without_a_request(
    clock: Clock, config: dict[str, Any], is_permanent: bool, idle_s: float | None
) -> None:
    app = made(**config)
    client = app.test_client()
    with client.session_transaction() as session:
        session["n"] = 1
        if is_permanent:
            session.permanent = True
        assert session.max_inactive_interval == idle_s  # type: ignore[attr-defined]
    kept = client.get_cookie("session")
    assert kept is not None
    clock.ahead_s += (idle_s or 10_000_000) - 0.5
    client.set_cookie("session", kept.value)
    assert client.get("/content").json != {}
    if idle_s is not None:
        clock.ahead_s += idle_s + 0.5
        assert client.get("/content").json == {}


def test_an_interval_that_the_application_chose_stays(app: Flask) -> None:
    client = app.test_client()
    for _ in range(2):
        with client.session_transaction() as session:
            session.permanent = True
            session.max_inactive_interval = 5  # type: ignore[attr-defined]
    with client.session_transaction() as session:
        session.permanent = True
        assert session.max_inactive_interval == 5  # type: ignore[attr-defined]
        session.permanent = False
        assert session.max_inactive_interval == 1800  # type: ignore[attr-defined]


# Waiting.


class Members:
    """Members with a Flask application each, and one client's cookie that goes to any of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *numbers: int) -> None:
        self.wired = Wired(monkeypatch, *numbers)
        self.network = self.wired.network
        self.cookie: str | None = None
        self.entered = threading.Event()
        enter = waiting.Waiter._enter

        def noting(waiter: waiting.Waiter, call: Callable[[], object]) -> bool:
            waits = enter(waiter, call)
            self.entered.set()
            return waits

        monkeypatch.setattr(waiting.Waiter, "_enter", noting)

    def get(self, name: str, path: str, **config: Any) -> TestResponse:
        """Ask a member for a page."""
        app = made(REPLSESSION_CLUSTER=self.wired.clusters[name], **config)
        app.register_error_handler(503, our_page)
        app.add_url_rule("/stale", endpoint="stale", view_func=stale)
        client = app.test_client()
        if self.cookie is not None:
            client.set_cookie("session", self.cookie)
        answer = client.get(path)
        self.cookie = cookie_of(answer) or self.cookie
        return answer

    def getting(
        self, name: str, path: str, then: Callable[[], object], **config: Any
    ) -> TestResponse:
        """Ask for a page in a thread, let something happen while that waits, return the answer."""
        answers: list[TestResponse] = []
        self.entered.clear()
        thread = threading.Thread(target=lambda: answers.append(self.get(name, path, **config)))
        thread.start()
        assert self.entered.wait(30), "it does not wait"
        then()
        thread.join(30)
        return answers[0]


def our_page(error: ServiceUnavailable) -> Any:
    """A page for errors as applications have them: it touches the session."""
    flask.session.setdefault("_flashes", [])
    response = error.get_response()
    response.set_data(f"our page: {error.description}")
    return response


def stale() -> list[object]:
    return [dict(flask.session), flask.session.stale]  # type: ignore[attr-defined]


@pytest.fixture
def members(monkeypatch: pytest.MonkeyPatch) -> Members:
    """Two members that are ready."""
    return Members(monkeypatch, 1, 2)


def test_a_response_waits_until_its_write_is_held(members: Members) -> None:
    members.network.hold("m2", Acknowledge)
    answer = members.getting(
        "m1", "/counter", lambda: members.network.release("m2"), REPLSESSION_CONCERN="all"
    )
    assert (answer.status_code, answer.json) == (200, {"n": 1})
    assert members.get("m2", "/content").json == {"n": 1}


def test_a_shortfall_is_answered_with_503_and_the_cookie(monkeypatch: pytest.MonkeyPatch) -> None:
    members = Members(monkeypatch, 1)
    answer = members.get("m1", "/counter", REPLSESSION_CONCERN="one")
    assert answer.status_code == 503
    assert answer.text.startswith("503 Service Unavailable: write concern 'one'")
    assert (answer.headers["Retry-After"], answer.headers["Cache-Control"]) == ("1", "no-store")
    assert answer.headers.getlist("Content-Length") == [str(len(answer.data))]
    assert members.get("m1", "/content").json == {"n": 1}


@pytest.mark.parametrize("policy", ["serve", "error"])
def test_what_can_not_be_had_in_time_is_stale_or_refused(members: Members, policy: str) -> None:
    members.get("m1", "/counter")
    members.network.hold("m1")
    members.get("m1", "/counter")
    before = members.cookie
    run = lambda: members.network.run(Timing().fresh_timeout_s)  # noqa: E731
    answer = members.getting("m2", "/stale", run, REPLSESSION_STALE=policy)
    if policy == "serve":
        assert answer.json == [{"n": 1}, True]
    else:
        assert answer.status_code == 503
        assert answer.text.startswith("our page: this member does not have the newest state")
        assert answer.headers["Cache-Control"] == "no-store"
    assert members.cookie != before
    again = members.get("m2", "/stale", REPLSESSION_STALE=policy)
    assert again.json is not None
    assert (again.json[0]["n"], again.json[1]) == (1, False)


def test_a_joiner_without_state_begins_no_session(monkeypatch: pytest.MonkeyPatch) -> None:
    members = Members(monkeypatch, 1)
    for _ in range(3):
        members.wired.app("m1").born(x=bytes(100_000))
    members.cookie = before = App().born(n=1)
    members.network.hold("m2", StateCredit, RecordInquiry)
    members.wired.add(2)
    members.network.run(0.3)
    run = lambda: members.network.run(Timing().join_wait_s)  # noqa: E731
    answer = members.getting("m2", "/counter", run)
    assert answer.status_code == 503
    assert "still receiving" in answer.text
    assert (answer.headers["Retry-After"], cookie_of(answer)) == ("1", None)
    assert members.cookie == before


def test_the_environ_says_whether_the_session_was_served_here_last() -> None:
    app = made(REPLSESSION_PRIMARY_INDICATOR="primary")
    told: list[object] = []
    app.before_request(lambda: told.append(flask.request.environ.get("primary")))
    client = app.test_client()
    client.get("/counter")
    client.get("/counter")
    assert told == [None, True]
