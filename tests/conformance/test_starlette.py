"""
A drop-in for Starlette's session middleware: what an application or a browser can tell apart.

Every test here runs with Starlette's own middleware as well, which proves that it asks for what
Starlette does, and under asyncio and trio. What differs on purpose has tests of its own at the end.
"""

from __future__ import annotations

import json
import re
from collections import OrderedDict
from collections.abc import Callable
from decimal import Decimal
from typing import Annotated, Any

import httpx2
import pytest
from fastapi import Depends, FastAPI, WebSocket
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.middleware import sessions as starlettes
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket as StarletteWebSocket

import replsession

Act = Callable[[Any], Any]
Options = dict[str, Any]

BOTH = pytest.mark.parametrize("ours", [True, False], ids=["replsession", "starlette"])
SECRET = "example"


@pytest.fixture(params=["asyncio", "trio"])
def backend(request: pytest.FixtureRequest) -> str:
    """The event loop that the application runs on."""
    name: str = request.param
    return name


def with_sessions(ours: bool, **options: Any) -> Middleware:
    """Return the middleware, ours or Starlette's, with the arguments that both take."""
    arguments: Options = {"secret_key": SECRET, **options}
    if ours:
        return Middleware(replsession.SessionMiddleware, cluster=None, **arguments)
    return Middleware(starlettes.SessionMiddleware, **arguments)


class Client:
    """A browser of an application whose pages are functions of the session."""

    def __init__(self, ours: bool, backend: str, pages: dict[str, Act], **options: Any) -> None:
        self.app = Starlette(
            routes=[Route(f"/{name}", _endpoint(act)) for name, act in pages.items()],
            middleware=[with_sessions(ours, **options)],
        )
        self.backend = backend
        self.http = self.another()

    def another(self, cookies: dict[str, str] | None = None, **options: Any) -> TestClient:
        """Return another browser."""
        return TestClient(self.app, backend=self.backend, cookies=cookies, **options)  # type: ignore[arg-type]

    def get(self, page: str) -> httpx2.Response:
        """Ask for a page."""
        return self.http.get(f"/{page}")


def _endpoint(act: Act) -> Callable[[Request], Response]:
    def endpoint(request: Request) -> Response:
        return JSONResponse({"said": act(request.session), "session": request.session})

    return endpoint


def update(**values: Any) -> Act:
    return lambda session: session.update(values)


def clear(session: Any) -> None:
    session.clear()


def view(session: Any) -> None:
    """Only ``request.session`` was read."""


PAGES: dict[str, Act] = {"view": view, "update": update(some="data"), "clear": clear}


def attributes_of(cookie: str) -> str:
    """Return a Set-Cookie header without the value."""
    return re.sub(r"^session=[^;]*", "session=…", cookie)


@BOTH
def test_a_session_is_written_read_and_cleared(ours: bool, backend: str) -> None:
    client = Client(ours, backend, PAGES)
    assert client.get("view").json()["session"] == {}
    assert client.get("update").json()["session"] == {"some": "data"}
    assert client.get("view").json()["session"] == {"some": "data"}
    assert client.get("clear").json()["session"] == {}
    assert client.get("view").json()["session"] == {}


@BOTH
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "session=…; path=/; Max-Age=1209600; httponly; samesite=lax"),
        ({"max_age": 60}, "session=…; path=/; Max-Age=60; httponly; samesite=lax"),
        ({"max_age": 0}, "session=…; path=/; Max-Age=0; httponly; samesite=lax"),
        ({"max_age": None}, "session=…; path=/; httponly; samesite=lax"),
        ({"path": "/second"}, "session=…; path=/second; Max-Age=1209600; httponly; samesite=lax"),
        (
            {"domain": ".example.com"},
            "session=…; path=/; Max-Age=1209600; httponly; samesite=lax; domain=.example.com",
        ),
        (
            {"https_only": True, "same_site": "none", "partitioned": True, "max_age": None},
            "session=…; path=/; httponly; samesite=none; secure; partitioned",
        ),
        ({"same_site": "strict", "max_age": None}, "session=…; path=/; httponly; samesite=strict"),
    ],
)
def test_the_cookies_attributes(ours: bool, backend: str, options: Options, expected: str) -> None:
    client = Client(ours, backend, PAGES, **options)
    assert attributes_of(client.get("update").headers["set-cookie"]) == expected


@BOTH
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "path=/; expires=Thu, 01 Jan 1970 00:00:00 GMT; httponly; samesite=lax"),
        (
            {"domain": "testserver.local", "path": "/clear"},
            "path=/clear; expires=Thu, 01 Jan 1970 00:00:00 GMT; httponly; samesite=lax; "
            "domain=testserver.local",
        ),
    ],
)
def test_the_cookie_that_takes_it_away(
    ours: bool, backend: str, options: Options, expected: str
) -> None:
    client = Client(ours, backend, PAGES, **options)
    value = client.get("update").headers["set-cookie"].partition(";")[0].partition("=")[2]
    response = client.another({"session": value}).get("/clear")
    assert response.headers["set-cookie"] == f"session=null; {expected}"


@BOTH
def test_the_cookie_may_have_another_name(ours: bool, backend: str) -> None:
    client = Client(ours, backend, PAGES, session_cookie="sid")
    assert client.get("update").headers["set-cookie"].startswith("sid=")
    assert client.get("view").json()["session"] == {"some": "data"}


@BOTH
def test_a_secure_cookie_is_not_sent_in_the_clear(ours: bool, backend: str) -> None:
    client = Client(ours, backend, PAGES, https_only=True)
    for scheme, kept in (("http", {}), ("https", {"some": "data"})):
        browser = client.another(base_url=f"{scheme}://testserver")
        assert browser.get("/view").json()["session"] == {}
        assert browser.get("/update").json()["session"] == {"some": "data"}
        assert browser.get("/view").json()["session"] == kept
        assert browser.get("/clear").json()["session"] == {}
        assert browser.get("/view").json()["session"] == {}


@BOTH
def test_below_a_mount(ours: bool, backend: str) -> None:
    inner = Starlette(
        routes=[Route("/update", _endpoint(update(some="data"))), Route("/view", _endpoint(view))],
        middleware=[with_sessions(ours, path="/inner")],
    )
    app = Starlette(routes=[Mount("/inner", app=inner), Route("/view", _endpoint(len))])
    browser = TestClient(app, backend=backend)  # type: ignore[arg-type]
    response = browser.get("/inner/update")
    assert "; path=/inner;" in response.headers["set-cookie"]
    assert browser.get("/inner/view").json()["session"] == {"some": "data"}
    with pytest.raises(AssertionError, match="SessionMiddleware must be installed"):
        browser.get("/view")


@BOTH
@pytest.mark.parametrize("cookie", ["invalid", "", "a.b.c", '"quoted"', "x" * 5000])
def test_a_cookie_of_nonsense_is_an_empty_session(ours: bool, backend: str, cookie: str) -> None:
    client = Client(ours, backend, PAGES)
    response = client.another({"session": cookie}).get("/view")
    assert response.json()["session"] == {}
    assert "set-cookie" not in response.headers


@BOTH
def test_a_session_that_is_over_at_once(ours: bool, backend: str) -> None:
    client = Client(ours, backend, PAGES, max_age=-1)
    sent = client.get("update").headers["set-cookie"]
    assert "; Max-Age=-1; " in sent
    value = sent.partition(";")[0].partition("=")[2]
    assert client.another({"session": value}).get("/view").json()["session"] == {}


@BOTH
def test_a_cookie_that_the_browser_forgot_is_gone(ours: bool, backend: str) -> None:
    client = Client(ours, backend, PAGES)
    client.get("update")
    client.http.cookies.delete("session")
    assert client.get("view").json()["session"] == {}


ACTS: list[tuple[str, Act, str]] = [
    # name, act, and what is sent with a session that has {"a": 1, "list": []}: cookie, vary
    ("view", view, "vary"),
    ("get", lambda s: s.get("a"), "vary"),
    ("item", lambda s: s["a"], "vary"),
    ("in", lambda s: "a" in s, "vary"),
    ("len", len, "vary"),
    ("items", lambda s: list(s.items()), "vary"),
    ("json", json.dumps, "vary"),
    ("pop missing", lambda s: s.pop("x", None), "vary"),
    ("setdefault of what is there", lambda s: s.setdefault("a", 5), "vary"),
    ("setdefault", lambda s: s.setdefault("b", 5), "cookie vary"),
    ("set", lambda s: s.__setitem__("b", 1), "cookie vary"),
    ("set the same", lambda s: s.__setitem__("a", 1), "cookie vary"),
    ("delete", lambda s: s.__delitem__("a"), "cookie vary"),
    ("pop", lambda s: s.pop("a"), "cookie vary"),
    ("popitem", lambda s: s.popitem(), "cookie vary"),
    ("update", lambda s: s.update(b=2), "cookie vary"),
    ("update with nothing", lambda s: s.update(), "cookie vary"),
    ("or", lambda s: s.__ior__({"b": 2}), "cookie vary"),
    ("mark modified", lambda s: s.mark_modified(), "cookie vary"),
    ("mark accessed", lambda s: s.mark_accessed(), "vary"),
    ("modified", lambda s: setattr(s, "modified", True), "cookie vary"),
    ("clear", clear, "deleted vary"),
    ("clear and set", lambda s: (s.clear(), s.update(b=1)), "cookie vary"),
    ("pop all", lambda s: (s.pop("a"), s.pop("list")), "deleted vary"),
]


def sent_in(response: httpx2.Response) -> str:
    """Return which headers a response has."""
    cookie = response.headers.get("set-cookie")
    what = [] if cookie is None else ["deleted" if "null" in cookie else "cookie"]
    return " ".join(what + (["vary"] if "vary" in response.headers else []))


@BOTH
@pytest.mark.parametrize(("name", "act", "sent"), ACTS, ids=[name for name, _, _ in ACTS])
def test_what_is_sent_after_each_act(
    ours: bool, backend: str, name: str, act: Act, sent: str
) -> None:
    def quiet(session: Any) -> None:
        act(session)

    begin = update(a=1, list=[])
    client = Client(ours, backend, {"begin": begin, "act": quiet, "view": view})
    client.get("begin")
    response = client.get("act")
    assert sent_in(response) == sent
    assert client.get("view").json()["session"] == response.json()["session"]


@BOTH
@pytest.mark.parametrize(
    ("act", "sent"),
    [
        (view, "vary"),
        (clear, "vary"),
        (lambda s: s.pop("x", None), "vary"),
        (lambda s: s.get("x"), "vary"),
        (lambda s: (s.update(a=1), s.clear()), "vary"),
        (lambda s: s.update(a=1), "cookie vary"),
    ],
)
def test_what_is_sent_without_a_session_before(
    ours: bool, backend: str, act: Act, sent: str
) -> None:
    def quiet(session: Any) -> None:
        act(session)

    assert sent_in(Client(ours, backend, {"act": quiet}).get("act")) == sent


@BOTH
def test_without_any_access_nothing_is_sent(ours: bool, backend: str) -> None:
    app = Starlette(
        routes=[
            Route("/", lambda request: PlainTextResponse("")),
            Route("/update", _endpoint(update(a=1))),
        ],
        middleware=[with_sessions(ours)],
    )
    browser = TestClient(app, backend=backend)  # type: ignore[arg-type]
    browser.get("/update")
    assert sent_in(browser.get("/")) == ""


@BOTH
@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "Cookie"),
        ({"vary": "Accept-Encoding"}, "Accept-Encoding, Cookie"),
        ({"Vary": "Accept, Origin"}, "Accept, Origin, Cookie"),
    ],
)
def test_vary_is_added_to_what_is_there(
    ours: bool, backend: str, given: dict[str, str], expected: str
) -> None:
    def page(request: Request) -> Response:
        request.session["a"] = 1
        return PlainTextResponse("", headers=given)

    app = Starlette(routes=[Route("/", page)], middleware=[with_sessions(ours)])
    assert TestClient(app, backend=backend).get("/").headers["vary"] == expected  # type: ignore[arg-type]


@BOTH
def test_other_cookies_stay(ours: bool, backend: str) -> None:
    def page(request: Request) -> Response:
        request.session["a"] = 1
        response = PlainTextResponse("")
        response.set_cookie("mine", "1")
        return response

    app = Starlette(routes=[Route("/", page)], middleware=[with_sessions(ours)])
    response = TestClient(app, backend=backend).get("/")  # type: ignore[arg-type]
    cookies = response.headers.get_list("set-cookie")
    assert [cookie.partition("=")[0] for cookie in cookies] == ["mine", "session"]


@pytest.mark.parametrize("kind", [starlettes.Session, replsession.Session])
def test_what_counts_as_accessed_and_as_modified(kind: Callable[..., Any]) -> None:
    def flags(act: Act) -> tuple[bool, bool]:
        session = kind({"a": "1", "b": "2"})
        assert (session.accessed, session.modified) == (False, False)
        act(session)
        return session.accessed, session.modified

    assert flags(lambda s: s.mark_accessed()) == (True, False)
    for act in (
        lambda s: s.mark_modified(),
        lambda s: s.__setitem__("c", "3"),
        lambda s: s.__delitem__("a"),
        lambda s: s.clear(),
        lambda s: s.pop("a"),
        lambda s: s.popitem(),
        lambda s: s.setdefault("c", "3"),
        lambda s: s.update({"c": "3"}),
        lambda s: s.update(c="3"),
        lambda s: s.__ior__({"c": "3"}),
    ):
        assert flags(act) == (True, True)
    for act in (lambda s: s.pop("x", None), lambda s: s.setdefault("a", "9")):
        assert flags(act)[1] is False


@BOTH
def test_a_session_in_a_websocket(ours: bool, backend: str) -> None:
    async def socket(websocket: StarletteWebSocket) -> None:
        await websocket.accept()
        await websocket.send_json(dict(websocket.session))
        await websocket.close()

    app = Starlette(
        routes=[Route("/", _endpoint(update(a=1))), WebSocketRoute("/ws", socket)],
        middleware=[with_sessions(ours)],
    )
    browser = TestClient(app, backend=backend)  # type: ignore[arg-type]
    browser.get("/")
    with browser.websocket_connect("/ws") as end:
        assert end.receive_json() == {"a": 1}


def session_of(request: Request) -> dict[str, Any]:
    return request.session


Injected = Annotated[dict[str, Any], Depends(session_of)]


@BOTH
def test_in_fastapi_as_a_dependency(ours: bool, backend: str) -> None:
    app = FastAPI()
    if ours:
        app.add_middleware(replsession.SessionMiddleware, secret_key=SECRET, cluster=None)
    else:
        app.add_middleware(starlettes.SessionMiddleware, secret_key=SECRET)

    @app.get("/set")
    async def set_it(session: Injected) -> dict[str, Any]:
        session["a"] = {"b": [1, "x", None]}
        return session

    @app.get("/get")
    def get_it(session: Injected) -> dict[str, Any]:
        return session

    @app.get("/bare")
    def bare(session: Injected) -> Any:
        return session

    @app.get("/response", response_model=None)
    def response(session: Injected) -> Response:
        return JSONResponse(session)

    @app.websocket("/ws")
    async def socket(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_json(websocket.session)
        await websocket.close()

    browser = TestClient(app, backend=backend)  # type: ignore[arg-type]
    expected = {"a": {"b": [1, "x", None]}}
    assert browser.get("/get").json() == {}
    for path in ("/set", "/get", "/bare", "/response"):
        assert browser.get(path).json() == expected, path
    with browser.websocket_connect("/ws") as end:
        assert end.receive_json() == expected


@BOTH
def test_inside_other_middleware(ours: bool, backend: str) -> None:
    class Counting(BaseHTTPMiddleware):
        async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
            request.session["before"] = True
            response = await call_next(request)
            request.session["after"] = True
            return response

    app = Starlette(
        routes=[Route("/", _endpoint(update(a=1))), Route("/view", _endpoint(view))],
        middleware=[with_sessions(ours), Middleware(Counting)],
    )
    browser = TestClient(app, backend=backend)  # type: ignore[arg-type]
    browser.get("/")
    assert browser.get("/view").json()["session"] == {"a": 1, "before": True, "after": True}


@BOTH
def test_an_error_of_the_application_keeps_nothing(ours: bool, backend: str) -> None:
    def failing(request: Request) -> Response:
        request.session["a"] = 2
        raise RuntimeError("page")

    app = Starlette(
        routes=[
            Route("/", _endpoint(update(a=1))),
            Route("/fail", failing),
            Route("/view", _endpoint(view)),
        ],
        middleware=[with_sessions(ours)],
    )
    browser = TestClient(app, backend=backend, raise_server_exceptions=False)  # type: ignore[arg-type]
    browser.get("/")
    response = browser.get("/fail")
    assert (response.status_code, sent_in(response)) == (500, "")
    assert browser.get("/view").json()["session"] == {"a": 1}


@BOTH
def test_an_error_that_the_application_handles_keeps_what_was_written(
    ours: bool, backend: str
) -> None:
    def failing(request: Request) -> Response:
        request.session["a"] = 2
        raise ValueError

    app = Starlette(
        routes=[Route("/fail", failing), Route("/view", _endpoint(view))],
        middleware=[with_sessions(ours)],
        exception_handlers={ValueError: lambda request, error: PlainTextResponse("handled")},
    )
    browser = TestClient(app, backend=backend)  # type: ignore[arg-type]
    assert browser.get("/fail").text == "handled"
    assert browser.get("/view").json()["session"] == {"a": 2}


# What differs on purpose: more is kept, and other values are refused.


def test_what_a_cookie_cannot_keep_is_kept(backend: str) -> None:
    def late(request: Request) -> Response:
        async def body() -> Any:
            yield b"x"
            request.session["streamed"] = True

        task = BackgroundTask(lambda: request.session.update(task=True))
        return StreamingResponse(body(), background=task)

    app = Starlette(
        routes=[
            Route("/", _endpoint(update(list=[]))),
            Route("/append", _endpoint(lambda s: s["list"].append(b"\xff".hex()))),
            Route("/late", late),
            Route("/view", _endpoint(view)),
        ],
        middleware=[with_sessions(True)],
    )
    browser = TestClient(app, backend=backend)  # type: ignore[arg-type]
    for path in ("/", "/append", "/late"):
        browser.get(path)
    assert browser.get("/view").json()["session"] == {
        "list": ["ff"],
        "streamed": True,
        "task": True,
    }


def test_a_copied_cookie_is_dead_after_the_logout(backend: str) -> None:
    client = Client(True, backend, PAGES)
    client.get("update")
    copied = client.http.cookies["session"]
    client.get("clear")
    assert client.another({"session": copied}).get("/view").json()["session"] == {}


def test_the_cookie_does_not_grow_with_the_session(backend: str) -> None:
    client = Client(True, backend, {"update": update(text="x" * 100_000), "view": view})
    assert len(client.get("update").headers["set-cookie"]) < 200
    assert client.get("view").json()["session"] == {"text": "x" * 100_000}


@pytest.mark.parametrize("value", [(1, 2), {1: 2}, {3}, b"x", Decimal("1.50")])
def test_values_that_json_has_not_come_back_as_they_were(backend: str, value: Any) -> None:
    async def write(request: Request) -> Response:
        request.session["a"] = value
        return Response()

    async def read(request: Request) -> Response:
        seen = request.session["a"]
        return PlainTextResponse(f"{type(seen)} {seen!r}")

    app = Starlette(
        routes=[Route("/write", write), Route("/read", read)],
        middleware=[Middleware(replsession.SessionMiddleware, secret_key=SECRET)],
    )
    browser = TestClient(app, backend=backend)  # type: ignore[arg-type]
    browser.get("/write")
    assert browser.get("/read").text == f"{type(value)} {value!r}"


@pytest.mark.parametrize("value", [OrderedDict(), {1.5: 2}, 2**70])
def test_values_that_would_come_back_as_others_are_refused(backend: str, value: Any) -> None:
    client = Client(True, backend, {"update": update(a=value)})
    with pytest.raises(replsession.UnserializableAttribute, match="what may be stored"):
        client.get("update")
