"""Reading cookies without being fooled (C02 to C14), and writing Starlette's very text."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.datastructures import MutableHeaders
from starlette.middleware.sessions import SessionMiddleware

from replsession.errors import ConfigError
from replsession.web.cookies import (
    HEADER_BYTES_MAX,
    PAIRS_MAX,
    VALUES_MAX,
    CookieWriter,
    add_vary,
    find,
)

NAME = b"__Host-sid"
GOOD = "A" * 39 + "." + "b-_" * 14 + "z"


def headers_of(*lines: bytes) -> list[tuple[bytes, bytes]]:
    others = [(b"host", NAME + b"=host"), (b"x-cookie", NAME + b"=other")]
    return [*others, *((b"cookie", line) for line in lines), (b"accept", b"*/*")]


READ: list[tuple[str, list[bytes], tuple[str, ...]]] = [
    ("no cookie", [], ()),
    ("empty", [b""], ()),
    ("alone", [b"__Host-sid=A"], ("A",)),
    ("first", [b"__Host-sid=A; b=2"], ("A",)),
    ("last", [b"a=1; b=2; __Host-sid=A"], ("A",)),
    ("middle", [b"a=1;__Host-sid=A;b=2"], ("A",)),
    ("a real token", [b"a=1; __Host-sid=" + GOOD.encode() + b"; b=2"], (GOOD,)),
    ("C02 two values", [b"__Host-sid=good; __Host-sid=evil"], ("good", "evil")),
    ("C02 two values around another", [b"__Host-sid=g; a=1; __Host-sid=e"], ("g", "e")),
    ("C03 the same twice", [b"__Host-sid=A; __Host-sid=A"], ("A",)),
    ("C04 nameless", [b"=__Host-sid=evil"], ()),
    ("C04 nameless, and ours", [b"=__Host-sid=evil; __Host-sid=A"], ("A",)),
    ("C05 lower case", [b"__host-sid=evil"], ()),
    ("C05 upper case", [b"__HOST-SID=evil; __Host-sid=A"], ("A",)),
    ("C05 longer name", [b"x__Host-sid=evil; __Host-sidx=evil; my-__Host-sid=evil"], ()),
    ("C05 in another value", [b"a=__Host-sid=evil"], ()),
    ("C06 blanks around the pair", [b"a=1;  \t __Host-sid=A \t ; b=2"], ("A",)),
    ("C06 blanks at the ends", [b"\t __Host-sid=A \t"], ("A",)),
    ("C06 blank before =", [b"a=1; __Host-sid =evil"], ()),
    ("C06 blank after =", [b"a=1; __Host-sid= evil"], ()),
    (
        "C06 other white space",
        [b"a=1;\x0b__Host-sid=evil;\r\n__Host-sid=evil;\xa0__Host-sid=e"],
        (),
    ),
    ("C07 quoted", [b'__Host-sid="AAAA"'], ()),
    ("C07 octal", [b'__Host-sid="\\141bc"'], ()),
    ("C07 half quoted", [b'__Host-sid="A'], ()),
    ("C08 in quotes of another", [b'a="b; __Host-sid=evil"'], ()),
    ("C08 in quotes of another, well-formed", [b'a="b; __Host-sid=evil; c"'], ("evil",)),
    ("C09 joined by a comma", [b"__Host-sid=a,__Host-sid=b"], ()),
    ("C09 joined by a comma and a blank", [b"__Host-sid=a, __Host-sid=b"], ()),
    ("C10 two headers", [b"__Host-sid=good", b"__Host-sid=evil"], ("good", "evil")),
    ("C10 crumbs", [b"a=1", b"__Host-sid=A", b"b=2"], ("A",)),
    ("C10 the first is empty", [b"", b"__Host-sid=A"], ("A",)),
    ("C10 never joined into one", [b"__Host-sid", b"=evil"], ()),
    ("C11 512 characters", [b"__Host-sid=" + b"a" * 512], ("a" * 512,)),
    ("C11 513 characters", [b"__Host-sid=" + b"a" * 513], ()),
    ("C11 10 000 characters", [b"__Host-sid=" + b"a" * 10_000], ()),
    ("C11 no characters", [b"__Host-sid="], ()),
    ("C11 no value", [b"__Host-sid"], ()),
    ("C11 NUL", [b"__Host-sid=a\x00b"], ()),
    ("C11 percent NUL", [b"__Host-sid=a%00"], ()),
    ("C11 UTF-8", ["__Host-sid=é".encode()], ()),
    ("C11 Latin-1", [b"__Host-sid=\xe9"], ()),
    ("C11 line break", [b"__Host-sid=a\r\nX: y"], ()),
    ("C11 path", [b"__Host-sid=../../etc/passwd"], ()),
    ("C11 SQL", [b"__Host-sid=' OR 1=1"], ()),
    ("C11 equals sign", [b"__Host-sid=a=b"], ()),
    ("C12 64 KiB of quotes", [b'a="' + b'\\"' * 32_768 + b"; __Host-sid=A"], ()),
    ("C12 64 KiB of quotes of ours", [b'__Host-sid="' + b'\\"' * 32_768], ()),
    ("C13 the 180th pair", [b"a=1;" * 179 + b"__Host-sid=A"], ("A",)),
    ("C13 the 181st pair", [b"a=1;" * 180 + b"__Host-sid=A"], ()),
    ("C13 the 181st pair, again", [b"__Host-sid=A;" + b"a=1;" * 179 + b"__Host-sid=B"], ("A",)),
    ("C13 2 000 cookies, ours last", [b"abc=123456; " * 2000 + b"__Host-sid=A"], ()),
    ("C13 2 000 cookies, ours first", [b"__Host-sid=A; " + b"abc=123456; " * 2000], ("A",)),
    ("16 KiB to the byte", [b"a=" + b"x" * 16_369 + b";__Host-sid=A"], ("A",)),
    ("16 KiB and one byte", [b"a=" + b"x" * 16_370 + b";__Host-sid=A"], ()),
    ("cut in the value", [b"a=" + b"x" * 16_369 + b";__Host-sid=AB"], ()),
    ("16 KiB in two headers", [b"a=" + b"x" * 16_369, b"__Host-sid=A"], ("A",)),
    ("more in two headers", [b"a=" + b"x" * 16_370, b"__Host-sid=A"], ()),
    (
        "no more than 8 values",
        [b";".join(b"__Host-sid=%d" % number for number in range(100))],
        tuple(str(number) for number in range(VALUES_MAX)),
    ),
]


@pytest.mark.parametrize(
    ("lines", "values"), [row[1:] for row in READ], ids=[row[0] for row in READ]
)
def test_reading(lines: list[bytes], values: tuple[str, ...]) -> None:
    assert find(headers_of(*lines), NAME) == values


def test_other_headers_are_not_read() -> None:
    assert find([(b"set-cookie", b"sid=a"), (b"cookie2", b"sid=b"), (b"x", b"sid=c")], b"sid") == ()
    assert find([], b"sid") == ()


def by_the_rules(lines: list[bytes], name: bytes) -> tuple[str, ...]:
    """The rules once more, with no thought of speed and no bounds."""
    values = []
    for pair in b";".join(lines).split(b";"):
        key, equals, value = pair.strip(b" \t").partition(b"=")
        if equals and key == name and re.fullmatch(rb"[A-Za-z0-9._-]{1,512}", value):
            values.append(value.decode())
    return tuple(dict.fromkeys(values))[:VALUES_MAX]


PIECES = st.sampled_from([b"sid", b"=", b";", b"; ", b" ", b"\t", b'"', b",", b"a", b"b", b"\xff"])
LINES = st.lists(st.lists(PIECES, max_size=14).map(b"".join), max_size=3)


@given(LINES)
@settings(max_examples=1000, deadline=None)
def test_the_short_way_follows_the_rules(lines: list[bytes]) -> None:
    assert find([(b"cookie", line) for line in lines], b"sid") == by_the_rules(lines, b"sid")


@given(st.lists(st.binary(max_size=200) | st.binary(max_size=20).map(lambda x: b"sid=" + x)))
@settings(max_examples=200, deadline=None)
def test_no_bytes_raise(lines: list[bytes]) -> None:
    for value in find([(b"cookie", line) for line in lines], b"sid"):
        assert re.fullmatch(r"[A-Za-z0-9._-]{1,512}", value)


@pytest.mark.parametrize(
    "piece",
    [b";", b"sid=", b"sid=a;", b"; ", b" ", b"=", b'\\"', b"sid=a ;", b"\t;sid=\t", b"a=1;"],
)
def test_C12_the_work_is_bounded(piece: bytes) -> None:
    """Counted in lines of Python: each is one pass over the header at most, most over a pair."""
    lines = 0

    def count(frame: Any, event: str, _: Any) -> Any:
        nonlocal lines
        lines += event == "line"
        return count

    header = piece * (64 * 1024 // len(piece))
    before = sys.gettrace()
    sys.settrace(count)
    try:
        find([(b"cookie", header)] * 50, b"sid")
    finally:
        sys.settrace(before)
    assert 0 < lines < 20 + 12 * PAIRS_MAX
    assert len(header) > HEADER_BYTES_MAX - 8


def test_headers_beyond_the_bound_are_not_even_joined() -> None:
    def headers() -> Iterator[tuple[bytes, bytes]]:
        yield b"cookie", b"sid=a; b=" + b"x" * HEADER_BYTES_MAX
        raise AssertionError("no further header is looked at")

    assert find(headers(), b"sid") == ("a",)


def starlette_cookie(
    settings: dict[str, Any], change: Callable[[Any], None], cookie: bytes = b""
) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    """What Starlette's own middleware sets, and all headers of its response."""
    sent: list[Any] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        change(scope["session"])
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        raise AssertionError("nothing is read")

    middleware = SessionMiddleware(application, secret_key="example", **settings)
    scope = {"type": "http", "headers": [(b"cookie", cookie)] if cookie else []}
    asyncio.run(middleware(scope, receive, send))
    headers = sent[0]["headers"]
    return next(value for key, value in headers if key == b"set-cookie"), headers


SETTINGS: list[dict[str, Any]] = [
    {},
    {"max_age": None},
    {"max_age": 0},
    {"max_age": -1},
    {"session_cookie": "sid", "path": "/app"},
    {"path": ""},
    {"same_site": "strict"},
    {"same_site": "None"},
    {"same_site": "LAX", "https_only": True},
    {"domain": ".example.com"},
    {"domain": "example.com", "https_only": True, "partitioned": True, "same_site": "none"},
    {"session_cookie": "__Host-sid", "https_only": True, "max_age": 60},
    {"session_cookie": "__Secure-sid", "https_only": True, "path": "/x", "domain": "x.org"},
]


def writer_of(settings: dict[str, Any]) -> CookieWriter:
    given = {"max_age": 14 * 24 * 60 * 60, **settings}
    return CookieWriter(given.pop("session_cookie", "session"), **given)


@pytest.mark.parametrize("settings", SETTINGS, ids=repr)
def test_the_text_is_starlettes(settings: dict[str, Any]) -> None:
    theirs, _ = starlette_cookie(settings, lambda session: session.update(a=1))
    data = theirs.partition(b"=")[2].partition(b"; ")[0]
    assert writer_of(settings).set(GOOD) == theirs.replace(data, GOOD.encode(), 1)

    name = settings.get("session_cookie", "session").encode()
    if settings.get("max_age") not in (0, -1):
        cleared, _ = starlette_cookie(settings, lambda session: session.clear(), name + b"=" + data)
        assert writer_of(settings).delete() == cleared


def test_the_text_once_in_full() -> None:
    writer = CookieWriter("sid", "/a", "lax", True, "x.org", True, 60)
    assert writer.set("T") == (
        b"sid=T; path=/a; Max-Age=60; httponly; samesite=lax; secure; domain=x.org; partitioned"
    )
    assert writer.delete() == (
        b"sid=null; path=/a; expires=Thu, 01 Jan 1970 00:00:00 GMT; "
        b"httponly; samesite=lax; secure; domain=x.org; partitioned"
    )


HOST = {"name": "__Host-sid", "https_only": True}

WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("C14 name with a line break", {"name": "x\r\nSet-Cookie: a=b"}, "session_cookie"),
    ("C14 name with ;", {"name": "a;b"}, "session_cookie"),
    ("C14 name with =", {"name": "a=b"}, "session_cookie"),
    ("C14 name with a blank", {"name": "a b"}, "session_cookie"),
    ("C14 name ends in a line break", {"name": "a\n"}, "session_cookie"),
    ("C14 no name", {"name": ""}, "session_cookie"),
    ("C14 name with é", {"name": "é"}, "session_cookie"),
    ("C14 name is bytes", {"name": b"sid"}, "session_cookie"),
    ("C14 path with ;", {"path": "/; domain=evil.org"}, "path"),
    ("C14 path with a line break", {"path": "/\r\nX: y"}, "path"),
    ("C14 path with é", {"path": "/é"}, "path"),
    ("C14 path is None", {"path": None}, "path"),
    ("C14 domain with ;", {"domain": "a;b"}, "domain"),
    ("C14 domain with NUL", {"domain": "a\0"}, "domain"),
    ("C14 domain is a list", {"domain": ["a"]}, "domain"),
    ("same_site", {"same_site": "maybe"}, "same_site"),
    ("same_site is None", {"same_site": None}, "same_site"),
    ("same_site with more", {"same_site": "lax; secure"}, "same_site"),
    ("https_only is a str", {"https_only": "false"}, "https_only"),
    ("partitioned is None", {"partitioned": None}, "partitioned"),
    ("max_age is a float", {"max_age": 60.0}, "max_age"),
    ("max_age is a str", {"max_age": "60"}, "max_age"),
    ("max_age is a bool", {"max_age": True}, "max_age"),
    ("C16 __Host- without secure", {"name": "__Host-sid"}, "https_only"),
    ("C16 __Secure- without secure", {"name": "__Secure-sid"}, "https_only"),
    ("C16 __Host- with a path", {**HOST, "path": "/app"}, "path"),
    ("C16 __Host- with a domain", {**HOST, "domain": "x.org"}, "domain"),
    ("C16 __host- in lower case", {**HOST, "name": "__host-sid", "domain": "x.org"}, "domain"),
]


@pytest.mark.parametrize(("given", "field"), [row[1:] for row in WRONG], ids=[r[0] for r in WRONG])
def test_wrong_settings(given: dict[str, Any], field: str) -> None:
    with pytest.raises(ConfigError) as caught:
        CookieWriter(**{"name": "sid", **given})
    assert caught.value.field == field
    assert caught.value.given == given.get("name" if field == "session_cookie" else field, False)


VARY: list[list[tuple[bytes, bytes]]] = [
    [],
    [(b"content-type", b"text/html")],
    [(b"vary", b"Accept-Encoding")],
    [(b"vary", b"Cookie")],
    [(b"vary", b"*")],
    [(b"vary", b"")],
    [(b"a", b"1"), (b"vary", b"Accept"), (b"b", b"2"), (b"vary", b"Origin, X"), (b"c", b"3")],
    [(b"Vary", b"Accept")],
]


@pytest.mark.parametrize("headers", VARY, ids=repr)
def test_vary_is_merged_as_starlette_does(headers: list[tuple[bytes, bytes]]) -> None:
    theirs = list(headers)
    MutableHeaders(raw=theirs).add_vary_header("Cookie")
    ours = list(headers)
    add_vary(ours)
    assert ours == theirs


@pytest.mark.parametrize(
    ("max_age", "kept"), [(5, b"Max-Age=5; "), (0, b"Max-Age=0; "), (None, b"")]
)
@pytest.mark.parametrize("usual", [60, None])
def test_one_cookie_may_be_kept_otherwise_than_the_others(
    max_age: int | None, kept: bytes, usual: int | None
) -> None:
    writer = CookieWriter("sid", "/a", max_age=usual)
    assert writer.set("T", max_age) == b"sid=T; path=/a; " + kept + b"httponly; samesite=lax"
    assert (b"Max-Age=60" in writer.set("T")) is (usual == 60)
