"""The exchange: from the token of a request to the headers that its response takes home."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from replsession.errors import UnserializableAttribute
from replsession.session.session import Session
from replsession.web.exchange import Exchange, Site
from tests.web.rooms import (
    SECRET,
    App,
    Headers,
    cookie_in,
    name_of,
    started,
    values_of,
    without_seen,
)

HERE = Site("http", "here", "/page")
NO_REFERRER = (b"referrer-policy", b"no-referrer")
DELETED = "null"


def unknown_token() -> str:
    """Return a token that verifies, of a session that nobody knows."""
    return App(secrets=(SECRET,)).born(n=1)


# Which session.


def test_an_untouched_request_leaves_the_headers_alone() -> None:
    app = App()
    token = app.born(n=1)
    for exchange in (app.request(), app.request(token), app.request("x"), app.request(url=None)):
        assert started(exchange, [(b"x", b"y")]) == [(b"x", b"y")]


def test_a_valid_cookie_beats_the_url() -> None:
    app = App()
    cookie, url = app.born(n="cookie"), app.born(n="url")
    exchange = app.request(cookie, url=url, site=HERE)
    assert dict(exchange.session) == {"n": "cookie"}
    exchange.session["n"] = "more"
    headers = started(exchange)
    assert name_of(cookie_in(headers)) == name_of(cookie)
    assert NO_REFERRER not in headers
    assert app.read(url) == {"n": "url"}


@pytest.mark.parametrize("kind", ["none", "forged", "unknown", "nonsense", "ended", "rotated"])
def test_a_cookie_that_leads_nowhere_does_not_hide_a_valid_url_id(kind: str) -> None:
    app = App()
    url = app.born(n="url")
    cookie = app.born(n="cookie")
    if kind == "forged":
        cookie = cookie[:-2] + ("AA" if cookie[-2:] != "AA" else "BB")
    elif kind == "unknown":
        cookie = unknown_token()
    elif kind == "nonsense":
        cookie = "../../etc/passwd"
    elif kind in ("ended", "rotated"):
        exchange = app.request(cookie)
        exchange.session.clear() if kind == "ended" else exchange.session.rotate_id()
        started(exchange)
    exchange = app.request(None if kind == "none" else cookie, url=url, site=HERE)
    assert dict(exchange.session) == {"n": "url"}


@pytest.mark.parametrize("url", [None, "x", "", unknown_token()])
@pytest.mark.parametrize("cookie", [None, "x", unknown_token()])
def test_an_id_that_is_not_known_is_never_adopted(cookie: str | None, url: str | None) -> None:
    app = App()
    exchange = app.request(cookie, url=url, site=HERE)
    assert (dict(exchange.session), exchange.session.is_new, exchange.session.id) == (
        {},
        True,
        None,
    )
    exchange.session["n"] = 1
    new = cookie_in(started(exchange))
    assert new not in (None, cookie, url)
    assert new is not None and new[:16] not in (cookie or "", url or "")


def test_reading_an_unknown_session_begins_none() -> None:
    app = App()
    for cookie in (None, unknown_token()):
        exchange = app.request(cookie)
        assert (exchange.session.get("n"), len(exchange.session), exchange.session.id) == (
            None,
            0,
            None,
        )
        assert cookie_in(started(exchange)) is None
    assert app.manager.metrics.commits == 0
    assert list(app.channel.member.node.store.records()) == []


def test_of_two_cookies_the_first_that_is_known_counts() -> None:
    app = App()
    token = app.born(n=1)
    headers = [(b"cookie", f"session={unknown_token()}; a=b; session={token}".encode())]
    exchange = app.request(headers=headers)
    assert dict(exchange.session) == {"n": 1}
    assert app.manager.metrics.cookies_ambiguous == 1


# The cookie.


@pytest.mark.parametrize(
    ("act", "is_sent"),
    [
        (lambda s: None, False),
        (lambda s: s.get("n"), False),
        (lambda s: dict(s), False),
        (lambda s: "x" in s, False),
        (lambda s: s.pop("x", None), False),
        (lambda s: s.setdefault("n", 5), False),
        (lambda s: s.id, False),
        (lambda s: s.url_token, False),
        (lambda s: s.mark_accessed(), False),
        (lambda s: s["list"].append(1), True),
        (lambda s: s.__setitem__("n", 2), True),
        (lambda s: s.__setitem__("n", 1), True),
        (lambda s: s.pop("n"), True),
        (lambda s: s.mark_modified(), True),
        (lambda s: s.update({}), True),
        (lambda s: s.rotate_id(), True),
        (lambda s: setattr(s, "max_inactive_interval", 50), True),
    ],
)
def test_the_cookie_is_sent_when_the_session_was_modified(
    act: Callable[[Session], Any], is_sent: bool
) -> None:
    app = App()
    token = app.born(n=1, list=[])
    exchange = app.request(token)
    act(exchange.session)
    sent = cookie_in(started(exchange))
    assert (sent is not None) is is_sent
    if sent is not None:
        assert app.manager.find([sent]) is not None


def test_the_cookie_of_a_new_session() -> None:
    app = App()
    exchange = app.request()
    exchange.session["n"] = 1
    printed = exchange.session.url_token
    headers = started(exchange)
    (cookie,) = values_of(headers, b"set-cookie")
    token = cookie_in(headers)
    assert cookie == f"session={token}; path=/; Max-Age=60; httponly; samesite=lax"
    assert (name_of(token), token == printed) == (name_of(printed), False)


def test_a_cleared_session_takes_its_cookie_away() -> None:
    app = App()
    token = app.born(n=1)
    exchange = app.request(token)
    exchange.session.clear()
    assert cookie_in(started(exchange)) == DELETED
    assert app.manager.find([token]) is None


@pytest.mark.parametrize("cookie", [None, "x", unknown_token()])
def test_clearing_what_was_not_there_sends_nothing(cookie: str | None) -> None:
    exchange = App().request(cookie)
    exchange.session.clear()
    assert started(exchange) == [(b"vary", b"Cookie")]


def test_cleared_and_written_again_the_cookie_has_a_new_id() -> None:
    app = App()
    token = app.born(n=1)
    exchange = app.request(token)
    exchange.session.clear()
    exchange.session["n"] = 2
    new = cookie_in(started(exchange))
    assert new not in (None, token, DELETED)
    assert new is not None and app.read(new) == {"n": 2}
    assert app.manager.find([token]) is None


def test_after_a_rotation_the_old_id_is_dead_and_the_new_one_has_everything() -> None:
    app = App()
    token = app.born(n=1)
    exchange = app.request(token)
    exchange.session.rotate_id()
    exchange.session["user"] = "anna"
    new = cookie_in(started(exchange))
    assert new is not None and new != token
    assert app.read(new) == {"n": 1, "user": "anna"}
    assert dict(app.request(token).session) == {}


@pytest.mark.parametrize(
    "act",
    [
        lambda s: s.__setitem__("m", 2),
        lambda s: s.__setitem__("n", 1),
        lambda s: s.mark_modified(),
        lambda s: s.pop("n"),
    ],
)
@pytest.mark.parametrize("what", ["rotated", "ended", "cleared and written"])
def test_a_slow_request_sends_no_cookie_with_an_id_that_is_dead(
    what: str, act: Callable[[Session], Any]
) -> None:
    app = App()
    token = app.born(n=1, k=0)
    slow, quick = app.request(token), app.request(token)
    if what == "rotated":
        quick.session.rotate_id()
    else:
        quick.session.clear()
        if what != "ended":
            quick.session["user"] = "anna"
    new = cookie_in(started(quick))
    act(slow.session)
    assert cookie_in(started(slow)) is None
    if what == "cleared and written":
        assert new is not None and app.read(new) == {"user": "anna"}


def test_what_a_slow_request_with_the_old_id_wrote_is_kept() -> None:
    app = App()
    token = app.born(n=1)
    slow, quick = app.request(token), app.request(token)
    quick.session.rotate_id()
    new = cookie_in(started(quick))
    slow.session["m"] = 2
    started(slow)
    assert new is not None and app.read(new) == {"n": 1, "m": 2}


def test_a_slow_logout_takes_no_cookie_of_a_newer_login_away() -> None:
    app = App()
    token = app.born(n=1)
    slow, quick = app.request(token), app.request(token)
    for exchange in (quick, slow):
        exchange.session.clear()
    assert cookie_in(started(quick)) == DELETED
    assert cookie_in(started(slow)) is None


def test_an_id_from_the_url_sets_no_cookie() -> None:
    app = App()
    token = app.born(n=1)
    exchange = app.request(url=token, site=HERE)
    exchange.session["n"] = 2
    assert started(exchange) == [(b"vary", b"Cookie"), NO_REFERRER]
    assert app.read(token) == {"n": 2}


@pytest.mark.parametrize(
    "act",
    [
        lambda s: s.rotate_id(),
        lambda s: (s.clear(), s.__setitem__("n", 2)),
    ],
)
def test_a_new_id_after_one_from_the_url_goes_into_the_cookie(
    act: Callable[[Session], Any],
) -> None:
    app = App()
    token = app.born(n=1)
    exchange = app.request(url=token, site=HERE)
    act(exchange.session)
    new = cookie_in(started(exchange))
    assert new not in (None, token, DELETED)
    assert new is not None and app.manager.find([new]) is not None
    assert app.manager.find([token]) is None


def test_ending_a_session_from_the_url_takes_no_cookie_away() -> None:
    app = App()
    exchange = app.request("other-cookie", url=app.born(n=1), site=HERE)
    exchange.session.clear()
    assert cookie_in(started(exchange)) is None


# Other headers.


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([], ["Cookie"]),
        ([b"Accept-Encoding"], ["Accept-Encoding, Cookie"]),
        ([b"Accept", b"Origin"], ["Accept, Origin, Cookie"]),
    ],
)
def test_a_session_that_was_read_varies_the_response(before: list[bytes], after: list[str]) -> None:
    exchange = App().request()
    exchange.session.get("n")
    headers = started(exchange, [(b"vary", value) for value in before])
    assert values_of(headers, b"vary") == after


@pytest.mark.parametrize("name", [b"referrer-policy", b"Referrer-Policy"])
def test_the_application_may_say_its_own_referrer_policy(name: bytes) -> None:
    app = App()
    exchange = app.request(url=app.born(n=1), site=HERE)
    assert started(exchange, [(name, b"same-origin")]) == [(name, b"same-origin")]


@pytest.mark.parametrize(
    ("take", "is_told"),
    [
        (lambda s: s.url_token, True),
        (lambda s: s.encode_url("/a"), True),
        (lambda s: s.encode_url("https://elsewhere/"), False),
        (lambda s: s.id, False),
    ],
)
def test_a_response_that_may_contain_a_token_tells_no_referrer(
    take: Callable[[Session], Any], is_told: bool
) -> None:
    exchange = App().request(site=HERE)
    exchange.session["n"] = 1
    take(exchange.session)
    assert (NO_REFERRER in started(exchange)) is is_told


# URLs.


def test_urls_of_this_site_get_the_token() -> None:
    exchange = App().request(site=HERE)
    session = exchange.session
    assert session.encode_url("/a") == "/a"
    session["n"] = 1
    token = name_of(session.url_token)
    for url, encoded in (
        ("/a", f"/a;jsessionid={token}"),
        ("/a?b=c#d", f"/a;jsessionid={token}?b=c#d"),
        ("http://here/a", f"http://here/a;jsessionid={token}"),
        ("?b=c", f"./page;jsessionid={token}?b=c"),
        ("#top", "#top"),
        ("//elsewhere/a", "//elsewhere/a"),
        ("https://here/a", "https://here/a"),
        ("javascript:alert(1)", "javascript:alert(1)"),
    ):
        assert without_seen(session.encode_url(url)) == encoded


@pytest.mark.parametrize("site", [None, HERE])
def test_urls_stay_without_tracking_and_for_clients_with_a_cookie(site: Site | None) -> None:
    app = App()
    token = app.born(n=1)
    assert app.request(token, url=token, site=site).session.encode_url("/a") == "/a"
    if site is None:
        exchange = app.request()
        exchange.session["n"] = 1
        assert exchange.session.encode_url("/a") == "/a"


def test_a_client_with_a_cookie_that_leads_nowhere_gets_its_token_in_urls() -> None:
    app = App()
    exchange = app.request("x", url=app.born(n=1), site=HERE)
    assert ";jsessionid=" in exchange.session.encode_url("/a")


def test_the_token_that_was_printed_is_that_of_the_session_born() -> None:
    app = App()
    exchange = app.request(site=HERE)
    exchange.session["n"] = 1
    url = exchange.session.encode_url("/a")
    started(exchange)
    assert app.read(url.partition("=")[2]) == {"n": 1}


# When it is committed.


def test_what_is_written_after_the_start_is_kept() -> None:
    app = App()
    token = app.born(n=1, cart=[])
    exchange = app.request(token)
    assert not exchange.is_started
    started(exchange)
    assert exchange.is_started
    exchange.session["n"] = 2
    exchange.session["cart"].append(1)
    assert app.read(token) == {"n": 1, "cart": []}
    exchange.proceed()
    assert app.read(token) == {"n": 2, "cart": [1]}
    exchange.session["cart"].append(2)
    exchange.abandon()
    assert app.read(token) == {"n": 2, "cart": [1, 2]}
    commits = app.manager.metrics.commits
    exchange.proceed()
    assert app.manager.metrics.commits == commits


def test_a_session_that_ends_after_the_start_ends() -> None:
    app = App()
    token = app.born(n=1)
    exchange = app.request(token)
    started(exchange)
    exchange.session.clear()
    exchange.proceed()
    assert app.manager.find([token]) is None


def warnings_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


def test_a_session_begun_after_the_start_is_not_stored(caplog: pytest.LogCaptureFixture) -> None:
    app = App()
    exchange = app.request()
    started(exchange)
    exchange.session["n"] = 1
    exchange.proceed()
    exchange.session["n"] = 2
    exchange.proceed()
    assert list(app.channel.member.node.store.records()) == []
    (warning,) = warnings_in(caplog)
    assert "begun after the response to '/page' had started" in warning
    assert dict(exchange.session) == {"n": 2}


def test_a_session_that_is_ended_and_begun_anew_after_the_start_is_ended(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = App()
    token = app.born(n=1)
    exchange = app.request(token)
    started(exchange)
    exchange.session.clear()
    exchange.session["n"] = 2
    exchange.proceed()
    assert app.manager.find([token]) is None
    assert len(warnings_in(caplog)) == 1


def test_a_session_begun_after_the_start_is_stored_if_its_token_was_taken(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = App()
    exchange = app.request()
    started(exchange)
    exchange.session["n"] = 1
    token = exchange.session.url_token
    exchange.proceed()
    assert token is not None and app.read(token) == {"n": 1}
    assert warnings_in(caplog) == []


def test_a_failure_at_the_start_adds_no_header_and_commits_nothing() -> None:
    app = App()
    token = app.born(n=1)
    exchange = app.request(token)
    exchange.session["n"] = 2
    exchange.session["x"] = object()
    headers: Headers = [(b"a", b"b")]
    with pytest.raises(UnserializableAttribute):
        exchange.start(headers)
    assert (headers, exchange.is_started, app.read(token)) == ([(b"a", b"b")], False, {"n": 1})
    del exchange.session["x"]
    started(exchange)
    assert app.read(token) == {"n": 2}


def test_what_cannot_be_stored_after_a_failed_application_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = App()
    exchange = app.request(app.born(n=1))
    started(exchange)
    exchange.session["x"] = object()
    exchange.abandon()
    assert "could not be committed after its response had started" in caplog.messages[-1]


# Filtered paths.


def counted(app: App) -> dict[str, int]:
    return {name: count for name, count in app.manager.metrics.as_dict().items() if count}


def test_a_filtered_request_does_no_session_work() -> None:
    app = App()
    token = app.born(n=1)
    before = counted(app)
    exchange = app.request(token, url=token, site=HERE, is_filtered=True)
    assert started(exchange) == []
    exchange.proceed()
    assert counted(app) == {**before, "requests_filtered": 1}


def test_a_filtered_request_may_touch_its_session() -> None:
    app = App()
    token = app.born(n=1)
    before = counted(app)
    exchange = app.request(token, is_filtered=True)
    assert exchange.session["n"] == 1
    assert started(exchange) == [(b"vary", b"Cookie")]
    assert counted(app) == {**before, "requests_filtered": 1, "opens": before.get("opens", 0) + 1}


@pytest.mark.parametrize("found", [True, False])
def test_a_write_on_a_filtered_path_is_kept_counted_and_told(
    found: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "replsession")
    app = App()
    exchange = app.request(app.born(n=1) if found else None, is_filtered=True)
    exchange.session["m"] = 2
    token = cookie_in(started(exchange))
    assert token is not None and app.read(token) == ({"n": 1} if found else {}) | {"m": 2}
    assert app.manager.metrics.writes_on_filtered_paths == 1
    told = "A session was written on a path that the valve filters: '/page'; the write is kept"
    assert told in caplog.messages


def test_a_write_on_a_filtered_path_after_the_start_is_told_too() -> None:
    app = App()
    exchange = app.request(app.born(n=1), is_filtered=True)
    started(exchange)
    exchange.session["n"] = 2
    exchange.proceed()
    assert app.manager.metrics.writes_on_filtered_paths == 1


@pytest.mark.parametrize("is_filtered", [True, False])
def test_the_session_says_whether_it_may_get_another_id(is_filtered: bool) -> None:
    app = App()
    exchange: Exchange = app.request(app.born(n=1), is_filtered=is_filtered)
    assert exchange.session.id is not None
    started(exchange)
    with pytest.raises(Exception, match="response has started"):
        exchange.session.rotate_id()


# How long a browser keeps the cookie.


def cookie_line(headers: Headers) -> str:
    """Return the header that sets the cookie."""
    (line,) = values_of(headers, b"set-cookie")
    return line


def given(app: App, value: Any) -> str:
    """Let a request begin a session with its own expiry; return the cookie."""
    exchange = app.request()
    exchange.session["n"] = 1
    exchange.session.set_expiry(value)
    return cookie_in(started(exchange)) or ""


@pytest.mark.parametrize(
    ("value", "kept"), [(500, "Max-Age=500; "), (0, ""), (None, "Max-Age=60; ")]
)
def test_the_cookie_follows_the_session_s_own_expiry(value: Any, kept: str) -> None:
    app = App()
    token = given(app, value)
    exchange = app.request(token)
    exchange.session["n"] = 2
    assert f"; path=/; {kept}httponly" in cookie_line(started(exchange))


def test_the_cookie_of_a_moment_lasts_until_then() -> None:
    app = App()
    token = given(app, datetime.now(UTC) + timedelta(hours=2))
    exchange = app.request(token)
    exchange.session["n"] = 2
    headers = started(exchange)
    age = int(cookie_line(headers).partition("Max-Age=")[2].partition(";")[0])
    assert 2 * 3600 - 600 < age <= 2 * 3600 + 1
    # It is the same moment, so a page that only reads need not say it again.
    assert cookie_in(started(read_in(app, cookie_in(headers) or ""))) is None


def read_in(app: App, token: str) -> Exchange:
    """Return a request that has read its session."""
    exchange = app.request(token)
    assert exchange.session["n"]
    return exchange


def test_a_cookie_that_lasts_from_use_to_use_is_sent_at_each_use() -> None:
    app = App()
    token = given(app, 500)
    headers = started(read_in(app, token))
    assert "Max-Age=500; " in cookie_line(headers)
    # And says no less than before of what its client has seen.
    assert cookie_in(headers) == token
    assert started(app.request(token)) == []
    for value in (0, None):
        assert cookie_in(started(read_in(app, given(app, value)))) is None


def test_a_cookie_that_is_sent_again_does_not_forget_what_its_client_has_seen() -> None:
    app = App()
    token = app.born(n=1)
    exchange = app.request(token)
    exchange.session.mark_modified()
    assert cookie_in(started(exchange)) == token
