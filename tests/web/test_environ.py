"""What is read of a WSGI environ: cookie, path, and the id in the path."""

from __future__ import annotations

from typing import Any

import pytest

from replsession import ConfigError
from replsession.web.environ import Environ, cookies_in, path_of, take_id
from replsession.web.exchange import Site


def environ(**changes: Any) -> Environ:
    """Return the environ of a request."""
    return {
        "SERVER_NAME": "server",
        "SERVER_PORT": "80",
        "wsgi.url_scheme": "http",
        "SCRIPT_NAME": "",
        **changes,
    }


@pytest.mark.parametrize(
    ("line", "read"),
    [
        (None, []),
        ("", []),
        ("a=1; b=2", [(b"cookie", b"a=1; b=2")]),
        ("a=\xe9", [(b"cookie", b"a=\xe9")]),
        ("a=\u20ac", [(b"cookie", b"a=?")]),
    ],
)
def test_the_cookie_header(line: str | None, read: list[tuple[bytes, bytes]]) -> None:
    assert cookies_in({} if line is None else {"HTTP_COOKIE": line}) == read


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ({"PATH_INFO": "/a"}, "/a"),
        ({"PATH_INFO": "/a", "SCRIPT_NAME": "/shop"}, "/shop/a"),
        ({"SCRIPT_NAME": "/shop"}, "/shop"),
        ({"PATH_INFO": "/caf\xc3\xa9"}, "/café"),
        ({"PATH_INFO": "/\xff"}, "/\ufffd"),
        ({}, ""),
    ],
)
def test_the_path_is_text(given: dict[str, str], path: str) -> None:
    assert path_of(given) == path


@pytest.mark.parametrize("key", ["RAW_URI", "REQUEST_URI"])
def test_the_id_is_taken_off_the_path_and_off_the_uri(key: str) -> None:
    request = environ(
        PATH_INFO="/a b;jsessionid=x", HTTP_HOST="here", **{key: "/a%20b;jsessionid=x?q"}
    )
    came = take_id(request)
    assert (came.token, came.site) == ("x", Site("http", "here", "/a%20b"))
    assert (request["PATH_INFO"], request[key]) == ("/a b", "/a%20b?q")


def test_two_uris_that_say_the_same_lose_the_id_both() -> None:
    uri = "/a;jsessionid=x"
    request = environ(PATH_INFO=uri, RAW_URI=uri, REQUEST_URI=f"http://here{uri}")
    assert take_id(request).token == "x"
    assert (request["RAW_URI"], request["REQUEST_URI"]) == ("/a", "http://here/a")


def test_of_two_uris_the_one_that_agrees_with_the_path_counts() -> None:
    for wrong, right in (("RAW_URI", "REQUEST_URI"), ("REQUEST_URI", "RAW_URI")):
        request = environ(PATH_INFO="/a;jsessionid=x", **{wrong: "/", right: "/a;jsessionid=x"})
        came = take_id(request)
        assert (came.token, came.site.path) == ("x", "/a")
        assert (request["PATH_INFO"], request[wrong]) == ("/a", "/")


def test_a_path_that_another_program_changed_is_left_alone() -> None:
    request = environ(PATH_INFO="/elsewhere", REQUEST_URI="/a;jsessionid=x")
    assert take_id(request).token is None
    assert request["PATH_INFO"] == "/elsewhere"


def test_without_a_host_header_the_server_names_itself() -> None:
    assert take_id(environ(PATH_INFO="/", REQUEST_URI="/")).site == Site("http", "server:80", "/")


@pytest.mark.parametrize("given", [{}, {"REQUEST_URI": ""}, {"RAW_URI": None}])
def test_a_server_that_does_not_say_what_was_sent_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        take_id(environ(PATH_INFO="/", **given))
    assert caught.value.field == "url_tracking"
