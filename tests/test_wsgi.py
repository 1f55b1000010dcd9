"""The front door for WSGI: settings, responses in all their forms, and the path."""

from __future__ import annotations

import gc
import io
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication
from wsgiref.util import FileWrapper
from wsgiref.validate import validator

import pytest

from replsession import Cluster, ConfigError, SessionError, UnserializableAttribute
from replsession.wsgi import SessionMiddleware, WsgiSession
from tests.channel.running import free_port
from tests.gateway import Environ, WsgiBrowser, wsgi_site
from tests.web.rooms import name_of, without_seen

SECRET = "short"
KEY = "replsession.session"
PLAIN = [("Content-Type", "text/plain")]


def alone(app: WSGIApplication, **options: Any) -> SessionMiddleware:
    """Put the middleware around an application of one process alone."""
    return SessionMiddleware(app, **{"secret_key": SECRET, "cluster": None, **options})


def counter(session: WsgiSession) -> object:
    session["n"] = session.get("n", 0) + 1
    return dict(session)


def reader(session: WsgiSession) -> object:
    return dict(session)


def nothing(session: WsgiSession) -> object:
    return None


def untouched(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Leave the session alone; ``validator`` would take its ``repr``."""
    start_response("200 OK", PLAIN)
    return [b""]


def records_of(middleware: SessionMiddleware) -> list[Mapping[str, bytes]]:
    store = middleware._channel.member.node.store
    return [record.values() for record in store.records() if record.destroyed is None]


class Door:
    """One application whose inner one may be exchanged, and its browser."""

    def __init__(self, **options: Any) -> None:
        self.middleware = alone(wsgi_site(counter), **options)
        self.browser = WsgiBrowser(self.middleware)

    def run(self, app: WSGIApplication) -> WsgiBrowser:
        """Let another application answer from now on."""
        self.middleware.app = validator(app)
        return self.browser

    def content(self) -> Any:
        """Return what a page finds in the session."""
        self.middleware.app = wsgi_site(reader)
        return self.browser.get().json()


@pytest.fixture
def door() -> Door:
    """An application with a session in which ``n`` is 1."""
    door = Door()
    door.browser.get()
    return door


# Settings.


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"secret_key": ""}, "secret_key"),
        ({"session_cookie": "a b"}, "session_cookie"),
        ({"max_age": 1.5}, "max_age"),
        ({"path": "/;x"}, "path"),
        ({"same_site": "loose"}, "same_site"),
        ({"https_only": 1}, "https_only"),
        ({"domain": "a\r\nb"}, "domain"),
        ({"partitioned": None}, "partitioned"),
        ({"cluster": "local"}, "cluster"),
        ({"concern": "some"}, "concern"),
    ],
)
def test_a_wrong_setting_is_named(options: dict[str, Any], field: str) -> None:
    with pytest.raises(ConfigError) as caught:
        alone(wsgi_site(nothing), **options)
    assert caught.value.field == field


def test_the_first_arguments_may_be_given_by_position() -> None:
    middleware = SessionMiddleware(
        wsgi_site(nothing), SECRET, "sid", None, "/a", "strict", True, "here", True, cluster=None
    )
    assert middleware._cookies.set("x").decode() == (
        "sid=x; path=/a; httponly; samesite=strict; secure; domain=here; partitioned"
    )


def test_making_it_starts_nothing() -> None:
    cluster = Cluster.local(port=free_port())
    SessionMiddleware(wsgi_site(nothing), SECRET, cluster=cluster, required=True)
    assert (cluster.state, cluster.members) == ("not started", ())


def test_the_first_request_starts_the_member_on_a_thread_of_its_own() -> None:
    cluster = Cluster.local(port=free_port(), multicast=None)
    browser = WsgiBrowser(SessionMiddleware(wsgi_site(counter), SECRET, cluster=cluster))
    assert browser.get().json() == {"n": 1}
    assert cluster.state != "not started"
    channel = cluster.attach(SECRET, required=False)
    channel.stop_thread()
    assert browser.get().json() == {"n": 2}
    channel.stop_thread()


# The session.


def test_a_counter_counts() -> None:
    browser = WsgiBrowser(alone(wsgi_site(counter)))
    assert [browser.get().json()["n"] for _ in range(3)] == [1, 2, 3]
    assert WsgiBrowser(browser.app).get().json() == {"n": 1}


def test_the_session_stands_under_its_key_and_that_of_beaker() -> None:
    seen: list[object] = []

    def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        seen.extend([environ["mine"], environ["beaker.session"]])
        assert KEY not in environ
        start_response("200 OK", PLAIN)
        return [b""]

    WsgiBrowser(alone(app, environ_key="mine")).get()
    assert seen[0] is seen[1]
    assert isinstance(seen[0], WsgiSession)


def test_code_that_was_written_for_beaker_runs(door: Door) -> None:
    def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        session = environ["beaker.session"]
        session["user"] = "anna"
        session.save()
        before = session.id
        session.regenerate_id()
        assert session.created <= session.last_accessed
        assert session.id != before
        start_response("200 OK", PLAIN)
        return [b""]

    def logout(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        environ["beaker.session"].delete()
        start_response("200 OK", PLAIN)
        return [b""]

    old = door.browser.cookie
    door.run(app).get()
    assert door.browser.cookie != old
    assert door.content() == {"n": 1, "user": "anna"}
    door.run(logout).get()
    assert door.browser.cookie is None
    assert records_of(door.middleware) == []


def test_an_untouched_session_leaves_no_trace(door: Door) -> None:
    assert WsgiBrowser(alone(untouched)).get().headers == [(b"content-type", b"text/plain")]
    door.middleware.app = untouched
    assert door.browser.get().headers == [(b"content-type", b"text/plain")]


@pytest.mark.parametrize("act", [dict, len, repr, bool, lambda s: "n" in s, lambda s: s.get("n")])
@pytest.mark.parametrize("is_there", [True, False])
def test_reading_sends_no_cookie_and_varies(
    door: Door, act: Callable[[WsgiSession], object], is_there: bool
) -> None:
    def page(session: WsgiSession) -> object:
        act(session)
        return None

    if not is_there:
        door.browser.cookie = None
    door.middleware.app = wsgi_site(page)
    answer = door.browser.get()
    assert answer.cookie is None
    assert answer.values("vary") == ["Cookie"]
    assert len(records_of(door.middleware)) == 1


def test_headers_of_the_application_stay_and_vary_is_merged(door: Door) -> None:
    given = [
        ("Content-Type", "text/plain"),
        ("Vary", "Accept"),
        ("Set-Cookie", "a=1"),
        ("VARY", "Origin"),
        ("X-Same", "1"),
        ("X-Same", "2"),
    ]

    def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        environ[KEY]["m"] = 1
        start_response("200 OK", given)
        return [b"x"]

    headers = [
        (name.decode(), value.decode()) for name, value in door.run(app).open().finish().headers
    ]
    assert [header for header in headers if header[0] not in ("vary", "set-cookie")] == [
        ("content-type", "text/plain"),
        ("x-same", "1"),
        ("x-same", "2"),
    ]
    assert ("vary", "Accept, Origin, Cookie") in headers
    cookies = [value for name, value in headers if name == "set-cookie"]
    assert cookies[0] == "a=1"
    assert cookies[1].startswith("session=")
    # Nor is the application's own list touched, which it may use again.
    assert len(given) == 6


def test_several_cookie_headers_that_the_server_joined_are_read(door: Door) -> None:
    cookie = door.browser.cookie
    door.middleware.app = wsgi_site(reader)
    browser = WsgiBrowser(door.middleware)
    assert browser.get(HTTP_COOKIE=f"a=1; session={cookie}; b=2").json() == {"n": 1}
    assert browser.get(HTTP_COOKIE=f"session=bad; session={cookie}").json() == {"n": 1}
    assert browser.get(HTTP_COOKIE=f"\xff\xfe=\xa0; session={cookie}").json() == {"n": 1}
    assert browser.get(HTTP_COOKIE="session=").json() == {}


# Responses.


def late_start(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """A generator: nothing runs before its first chunk is asked for."""
    environ[KEY]["before"] = 1
    start_response("200 OK", PLAIN)
    environ[KEY]["between"] = 1
    yield b"a"
    environ[KEY]["streamed"] = 1
    yield b"b"
    environ[KEY]["last"] = 1


def test_a_generator_that_starts_late_gets_the_cookie_and_keeps_what_it_writes() -> None:
    door = Door()
    answer = door.run(late_start).get()
    assert (answer.status, answer.body) == (200, b"ab")
    assert answer.cookie is not None
    assert door.content() == {"before": 1, "between": 1, "streamed": 1, "last": 1}


def test_what_was_written_up_to_the_first_chunk_is_in_the_first_commit() -> None:
    door = Door()
    running = door.run(late_start).open()
    assert records_of(door.middleware) == []
    running.step()
    assert running.are_headers_sent
    [values] = records_of(door.middleware)
    assert list(values) == ["before", "between"]
    running.finish()


def test_when_the_last_byte_is_asked_for_what_was_written_is_there() -> None:
    door = Door()
    running = door.run(late_start).open()
    while running.step():
        pass
    [values] = records_of(door.middleware)
    assert list(values) == ["before", "between", "streamed", "last"]
    running.close()


def test_a_first_chunk_that_is_empty_lets_the_headers_go(door: Door) -> None:
    def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", PLAIN)
        yield b""
        environ[KEY]["m"] = 1
        yield b"x"

    assert door.run(app).get().body == b"x"
    assert door.content() == {"n": 1, "m": 1}


def test_a_generator_without_a_chunk_has_headers_all_the_same() -> None:
    def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        environ[KEY]["n"] = 1
        start_response("200 OK", PLAIN)
        return
        yield

    door = Door()
    answer = door.run(app).get()
    assert (answer.status, answer.body) == (200, b"")
    assert answer.cookie is not None


def test_the_write_function_lets_the_headers_go(door: Door) -> None:
    def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        write = start_response("200 OK", PLAIN)
        environ[KEY]["before"] = 1
        write(b"a")
        environ[KEY]["after"] = 1
        write(b"b")
        environ[KEY]["returned"] = 1
        return [b"c"]

    door.browser.cookie = None
    answer = door.run(app).get()
    assert (answer.body, answer.status) == (b"abc", 200)
    assert door.content() == {"before": 1, "after": 1, "returned": 1}


def test_a_page_for_an_error_replaces_what_was_said(door: Door) -> None:
    def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        environ[KEY]["m"] = 1
        start_response("200 OK", PLAIN)
        try:
            raise ValueError("in the middle")
        except ValueError:
            start_response("500 Oh", PLAIN, sys.exc_info())
        return [b"oh"]

    answer = door.run(app).get()
    assert (answer.status, answer.body) == (500, b"oh")
    assert answer.cookie is not None


def test_headers_that_were_handed_on_and_not_sent_are_replaced_with_the_cookie() -> None:
    def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        environ[KEY]["m"] = 1
        start_response("200 OK", PLAIN)
        yield b""
        try:
            raise ValueError("in the middle")
        except ValueError:
            environ[KEY]["error"] = 1
            start_response("500 Oh", PLAIN, sys.exc_info())
        yield b"oh"

    door = Door()
    answer = door.run(app).get()
    assert (answer.status, answer.body) == (500, b"oh")
    assert answer.cookie is not None
    assert door.content() == {"m": 1, "error": 1}


def test_an_error_after_the_headers_have_left_is_raised_by_the_server(door: Door) -> None:
    def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", PLAIN)
        yield b"a"
        environ[KEY]["m"] = 1
        try:
            raise ValueError("in the middle")
        except ValueError:
            start_response("500 Oh", PLAIN, sys.exc_info())
        yield b"never"

    running = door.run(app).open()
    with pytest.raises(ValueError, match="in the middle"):
        running.finish()
    assert running.answer.body == b"a"
    assert door.content() == {"n": 1, "m": 1}


def test_to_start_twice_is_the_error_that_it_is_with_a_server(door: Door) -> None:
    def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", PLAIN)
        start_response("200 OK", PLAIN)
        return [b""]

    with pytest.raises(AssertionError, match="again"):
        door.run(app).get()


def test_never_to_start_is_for_the_server_to_say(door: Door) -> None:
    closed: list[str] = []

    class Chunks:
        def __iter__(self) -> Iterator[bytes]:
            return iter([b"x"])

        def close(self) -> None:
            closed.append("closed")

    def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        environ[KEY]["m"] = 1
        return Chunks()

    door.middleware.app = app
    with pytest.raises(AssertionError, match="start_response"):
        door.browser.get()
    assert closed == ["closed"]
    assert door.content() == {"n": 1}


@pytest.mark.parametrize("steps", [0, 1, 2])
def test_a_server_that_stops_in_the_middle_closes_what_there_is(door: Door, steps: int) -> None:
    closed: list[int] = []

    class Chunks:
        def __init__(self, session: WsgiSession) -> None:
            self.session = session
            self.at = 0

        def __iter__(self) -> Iterator[bytes]:
            return self

        def __next__(self) -> bytes:
            self.at += 1
            self.session["at"] = self.at
            return b"x"

        def close(self) -> None:
            closed.append(self.at)
            self.session["closed"] = True

    def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", PLAIN)
        return Chunks(environ[KEY])

    running = door.run(app).open()
    for _ in range(steps):
        running.step()
    running.close()
    assert closed == [steps]
    assert door.content() == {"n": 1, "closed": True, **({"at": steps} if steps else {})}


def test_an_error_in_close_is_not_hidden_and_nothing_is_lost(door: Door) -> None:
    class Chunks:
        def __init__(self, session: WsgiSession) -> None:
            self.session = session

        def __iter__(self) -> Iterator[bytes]:
            yield b"x"
            self.session["m"] = 1

        def close(self) -> None:
            raise ValueError("in close")

    def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", PLAIN)
        return Chunks(environ[KEY])

    with pytest.raises(ValueError, match="in close"):
        door.run(app).get()
    assert door.content() == {"n": 1, "m": 1}


def test_what_fails_before_the_response_commits_nothing(door: Door) -> None:
    def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        environ[KEY]["m"] = 1
        raise ValueError("early")

    with pytest.raises(ValueError, match="early"):
        door.run(app).get()
    assert door.content() == {"n": 1}


@pytest.mark.parametrize("is_sent", [True, False])
def test_what_fails_while_streaming_is_kept_once_the_response_has_started(
    door: Door, is_sent: bool
) -> None:
    def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", PLAIN)
        if is_sent:
            yield b"a"
        environ[KEY]["m"] = 1
        raise ValueError("in the middle")

    with pytest.raises(ValueError, match="in the middle"):
        door.run(app).get()
    assert door.content() == {"n": 1, **({"m": 1} if is_sent else {})}


def test_what_fails_after_a_write_is_kept(door: Door) -> None:
    def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", PLAIN)(b"a")
        environ[KEY]["m"] = 1
        raise ValueError("late")

    with pytest.raises(ValueError, match="late"):
        door.run(app).get()
    assert door.content() == {"n": 1, "m": 1}


@pytest.mark.parametrize("is_stream", [True, False])
def test_a_value_that_may_not_be_stored_is_an_error_before_anything_was_sent(
    door: Door, is_stream: bool
) -> None:
    def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        environ[KEY]["m"] = object()
        start_response("200 OK", PLAIN)
        return iter([b"x"]) if is_stream else [b"x"]

    with pytest.raises(UnserializableAttribute, match="'m'"):
        door.run(app).get()
    assert door.content() == {"n": 1}


def test_a_session_that_begins_after_the_start_is_not_stored(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", PLAIN)
        yield b"a"
        environ[KEY]["m"] = 1

    door = Door()
    door.run(app).get()
    assert records_of(door.middleware) == []
    assert "no id can reach the client" in caplog.text


def test_a_thread_that_outlives_the_response_may_commit(door: Door) -> None:
    kept: list[WsgiSession] = []

    def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        kept.append(environ[KEY])
        start_response("200 OK", PLAIN)
        return [b"x"]

    door.run(app).get()
    kept[0]["late"] = True
    kept[0].commit_blocking()
    assert door.content() == {"n": 1, "late": True}


def test_a_rotation_after_the_start_is_refused(door: Door) -> None:
    def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", PLAIN)
        yield b"a"
        environ[KEY].rotate_id()

    with pytest.raises(SessionError, match="rotate_id"):
        door.run(app).get()


def test_what_is_complete_reaches_the_server_as_it_is(door: Door) -> None:
    given: list[Iterable[bytes]] = [[b"x"], (b"x", b"y"), FileWrapper(io.BytesIO(b"file"))]

    def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        environ[KEY]["m"] = environ[KEY].get("m", 0) + 1
        start_response("200 OK", PLAIN)
        return given[0]

    started: list[Any] = []

    def start_response(*said: Any) -> Any:
        started.append(said)

    door.middleware.app = app
    while given:
        got = door.middleware(door.browser.environ("/"), start_response)
        assert got is given.pop(0)
        assert [name for name, _ in started.pop()[1]].count("Set-Cookie") == 1
    assert door.content()["m"] == 3


def test_no_iterable_is_left_unclosed(door: Door, capsys: pytest.CaptureFixture[str]) -> None:
    def refuses(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        environ[KEY]["m"] = object()
        start_response("200 OK", PLAIN)
        return [b"x"]

    door.run(late_start).get()
    with pytest.raises(UnserializableAttribute):
        door.run(refuses).get()
    gc.collect()
    assert "without being closed" not in capsys.readouterr().err


# The path.


def paths(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Answer with what the application sees of the path, and two links."""
    session = environ[KEY]
    session["n"] = session.get("n", 0) + 1
    keys = ("SCRIPT_NAME", "PATH_INFO", "REQUEST_URI", "RAW_URI")
    said = {key: environ[key] for key in keys if key in environ}
    said["links"] = [session.encode_url("/next"), session.encode_url("https://other/")]
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(said).encode()]


@pytest.mark.parametrize(
    ("sent", "changes", "seen"),
    [
        ("/a", {}, {"PATH_INFO": "/a", "REQUEST_URI": "/a"}),
        ("/a;jsessionid=x", {}, {"PATH_INFO": "/a", "REQUEST_URI": "/a"}),
        (
            "/a;jsessionid=x",
            {"REQUEST_URI": "/a;jsessionid=x?q=;jsessionid=y"},
            {"PATH_INFO": "/a", "REQUEST_URI": "/a?q=;jsessionid=y"},
        ),
        (
            "/a;jsessionid=x",
            {"REQUEST_URI": None, "RAW_URI": "/a;jsessionid=x"},
            {"PATH_INFO": "/a", "RAW_URI": "/a"},
        ),
        (
            "/a;jsessionid=x",
            {"RAW_URI": "/a;jsessionid=x"},
            {"PATH_INFO": "/a", "RAW_URI": "/a", "REQUEST_URI": "/a"},
        ),
        (
            "/a;jsessionid=x",
            {"REQUEST_URI": "http://here/a;jsessionid=x"},
            {"PATH_INFO": "/a", "REQUEST_URI": "http://here/a"},
        ),
        (
            "/a;jsessionid=x",
            {"SCRIPT_NAME": "/shop", "REQUEST_URI": "/shop/a;jsessionid=x"},
            {"SCRIPT_NAME": "/shop", "PATH_INFO": "/a", "REQUEST_URI": "/shop/a"},
        ),
        (
            "/caf%C3%A9;jsessionid=x",
            {},
            {"PATH_INFO": "/caf\xc3\xa9", "REQUEST_URI": "/caf%C3%A9"},
        ),
        ("/%FF;jsessionid=x", {}, {"PATH_INFO": "/\xff", "REQUEST_URI": "/%FF"}),
        (
            "/a%3Bjsessionid=x",
            {},
            {"PATH_INFO": "/a;jsessionid=x", "REQUEST_URI": "/a%3Bjsessionid=x"},
        ),
        (
            "/a;jsessionid=x",
            {"PATH_INFO": "/elsewhere"},
            {"PATH_INFO": "/elsewhere", "REQUEST_URI": "/a;jsessionid=x"},
        ),
    ],
)
def test_the_application_sees_the_path_without_the_id(
    sent: str, changes: dict[str, Any], seen: dict[str, str]
) -> None:
    browser = WsgiBrowser(alone(validator(paths), url_tracking=True))
    said = browser.get(sent, **changes).json()
    assert {"SCRIPT_NAME": "", **seen} == {key: said[key] for key in said if key != "links"}


def test_a_url_carries_a_session_to_a_browser_without_a_cookie() -> None:
    app = alone(validator(paths), url_tracking=True)
    first = WsgiBrowser(app).get()
    link, other = first.json()["links"]
    assert without_seen(link) == f"/next;jsessionid={name_of(first.cookie)}"
    assert other == "https://other/"
    second = WsgiBrowser(app).get(link)
    assert second.cookie is None
    assert second.values("referrer-policy") == ["no-referrer"]
    app.app = wsgi_site(reader)
    assert WsgiBrowser(app).get(second.json()["links"][0]).json() == {"n": 2}


def test_a_policy_of_the_application_for_the_referrer_stays() -> None:
    def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        environ[KEY]["n"] = 1
        environ[KEY].encode_url("/next")
        start_response("200 OK", [*PLAIN, ("Referrer-Policy", "origin")])
        return [b""]

    answer = WsgiBrowser(alone(app, url_tracking=True)).get()
    assert answer.values("referrer-policy") == ["origin"]


def test_tracking_with_a_server_that_does_not_say_the_uri_is_refused() -> None:
    browser = WsgiBrowser(alone(validator(paths), url_tracking=True))
    with pytest.raises(ConfigError, match=r"url_tracking.*RAW_URI nor REQUEST_URI"):
        browser.get(REQUEST_URI=None)
    assert WsgiBrowser(alone(validator(paths))).get(REQUEST_URI=None).status == 200


def test_the_valve_knows_the_whole_path_as_text() -> None:
    browser = WsgiBrowser(alone(wsgi_site(counter), valve=["/shop/café"]))
    metrics = browser.app._behind.manager.metrics  # type: ignore[attr-defined]
    browser.get("/caf%C3%A9")
    assert metrics.requests_filtered == 0
    browser.get("/caf%C3%A9", SCRIPT_NAME="/shop")
    assert metrics.requests_filtered == 1


def test_a_filtered_path_does_no_session_work_until_it_is_touched(door: Door) -> None:
    door.middleware.app = untouched
    assert door.browser.get("/logo.png").headers == [(b"content-type", b"text/plain")]
    door.middleware.app = wsgi_site(counter)
    assert door.browser.get("/logo.png").json() == {"n": 2}
    assert door.middleware._behind.manager.metrics.writes_on_filtered_paths == 1


def test_the_environ_says_whether_the_session_was_served_here_last() -> None:
    told: list[object] = []

    def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        told.append(environ.get("primary"))
        environ[KEY]["n"] = 1
        start_response("200 OK", PLAIN)
        return [b""]

    browser = WsgiBrowser(alone(app, primary_indicator="primary"))
    browser.get("/")
    browser.get("/")
    assert told == [None, True]
