"""What Flask's and Quart's session interfaces share: cookies, headers, and answers instead."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask
from werkzeug.datastructures import Headers
from werkzeug.http import dump_cookie
from werkzeug.wrappers import Response

from replsession.flask import ReplicatedSession
from replsession.web.configured import ConfiguredSession
from replsession.web.exchange import Exchange
from replsession.web.interface import ConfiguredCookies, answer_instead, session_of, started
from tests.web.rooms import App

APP = App()


def request(cookie: str | None = None) -> tuple[Exchange, ConfiguredSession]:
    """Return the exchange of a request, and its session."""
    sent = [] if cookie is None else [(b"cookie", f"session={cookie}".encode())]
    exchange = Exchange(
        APP.manager,
        APP.cookies,
        sent,
        None,
        None,
        path="/",
        is_filtered=False,
        session_class=ConfiguredSession,
    )
    return exchange, session_of(exchange, ConfiguredSession)


@pytest.mark.parametrize(
    ("given", "varies"),
    [
        ([], ["Cookie"]),
        (["Accept"], ["Accept, Cookie"]),
        (["Accept, Origin", "Host"], ["Accept, Origin, Host, Cookie"]),
        (["accept, cookie"], ["accept, cookie"]),
        (["*"], ["*"]),
    ],
)
def test_vary_is_merged(given: list[str], varies: list[str]) -> None:
    headers = Headers([("Vary", line) for line in given])
    exchange, session = request()
    session["n"] = 1
    assert started(exchange, session, headers, renews=False) is None
    assert headers.getlist("Vary") == varies
    assert headers["Set-Cookie"].startswith("session=")


def test_what_was_not_touched_changes_no_header() -> None:
    headers = Headers()
    started(*request(), headers, renews=False)
    assert list(headers) == []


def test_a_cookie_is_renewed_with_what_its_client_has_seen() -> None:
    token = APP.born(n=1)
    headers = Headers()
    started(*request(token), headers, renews=True)
    assert headers["Set-Cookie"].startswith(f"session={token};")
    # There is nothing to renew without a session.
    none = Headers()
    started(*request(), none, renews=True)
    assert "Set-Cookie" not in none


def test_a_session_that_must_not_be_served_begins_nothing() -> None:
    exchange, _ = request()
    del exchange.session
    session = session_of(exchange, ConfiguredSession)
    session["n"] = 1
    headers = Headers()
    started(exchange, session, headers, renews=False)
    assert "Set-Cookie" not in headers


def test_the_cookie_is_written_with_the_settings_of_the_framework() -> None:
    app = Flask(__name__)
    app.config |= {"SESSION_COOKIE_SAMESITE": "Lax", "SESSION_COOKIE_SECURE": True}
    cookies = ConfiguredCookies(ReplicatedSession(), app, dump_cookie)
    cookies.session = request()[1]
    assert cookies.name == b"session"
    assert cookies.set("x") == b"session=x; Secure; HttpOnly; Path=/; SameSite=Lax"
    assert b"; Max-Age=60;" in cookies.set("x", 60)
    cookies.session.permanent = True
    assert b"; Expires=" in cookies.set("x")
    assert cookies.set("x", None) == b"session=x; Secure; HttpOnly; Path=/; SameSite=Lax"
    assert cookies.delete().startswith(
        b"session=; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=0"
    )


def test_an_answer_instead_keeps_the_cookies_and_nothing_else() -> None:
    response: Any = Response("page", 200, {"X-Mine": "1", "Content-Type": "text/html"})
    response.headers.add("Set-Cookie", "a=1")
    response.headers.add("Set-Cookie", "b=2")
    answer_instead(response, "why")
    body = b"503 Service Unavailable: why. Please try again.\n"
    assert (response.status, response.data) == ("503 SERVICE UNAVAILABLE", body)
    assert list(response.headers) == [
        ("Content-Type", "text/plain; charset=utf-8"),
        ("Content-Length", str(len(body))),
        ("Retry-After", "1"),
        ("Cache-Control", "no-store"),
        ("Set-Cookie", "a=1"),
        ("Set-Cookie", "b=2"),
    ]
