"""Ids in URLs: what is taken from a request's path (U02 to U19), and where one is put (U15)."""

from __future__ import annotations

import re
from urllib.parse import unquote, urljoin

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replsession.web.tracking import Taken, encode_url, looks_like_token, take

TOKEN = "A" * 39 + ".b_-9"
OURS = {"scheme": "https", "host": "shop.example", "current_path": "/dir/page"}


def served(raw: str, root_path: str = "") -> Taken:
    """Take from what uvicorn makes of a request target."""
    return take(root_path + unquote(raw), (root_path + raw).encode())


TAKEN: list[tuple[str, str, str, str | None]] = [
    ("nothing", "/a", "/a", None),
    ("U02 the last segment", f"/a;jsessionid={TOKEN}", "/a", TOKEN),
    ("U02 the root", f"/;jsessionid={TOKEN}", "/", TOKEN),
    ("U02 several segments", f"/a/b/c;jsessionid={TOKEN}", "/a/b/c", TOKEN),
    ("U02 a trailing slash", f"/a/;jsessionid={TOKEN}", "/a/", TOKEN),
    ("U02 512 characters", "/a;jsessionid=" + "x" * 512, "/a", "x" * 512),
    ("U05 %3B", f"/a%3Bjsessionid={TOKEN}", f"/a%3Bjsessionid={TOKEN}", None),
    ("U05 %3b", f"/a%3bjsessionid={TOKEN}", f"/a%3bjsessionid={TOKEN}", None),
    (
        "U05 %3B, and a real one",
        f"/a%3Bjsessionid=x;jsessionid={TOKEN}",
        "/a%3Bjsessionid=x",
        TOKEN,
    ),
    ("U05 a real one, and %3B", f"/a;jsessionid={TOKEN}%3Bjsessionid=x", "/a", None),
    ("U05 the name escaped", f"/a;%6Asessionid={TOKEN}", f"/a;%6Asessionid={TOKEN}", None),
    ("U05 the = escaped", f"/a;jsessionid%3D{TOKEN}", f"/a;jsessionid%3D{TOKEN}", None),
    ("U06 %253B", f"/a%253Bjsessionid={TOKEN}", f"/a%253Bjsessionid={TOKEN}", None),
    (
        "U07 dots after",
        f"/admin;jsessionid={TOKEN}/..;/b",
        f"/admin;jsessionid={TOKEN}/..;/b",
        None,
    ),
    ("U07 dots before", f"/x/..;/admin;jsessionid={TOKEN}", "/x/..;/admin", TOKEN),
    ("U07 would climb", f"/x/..;jsessionid={TOKEN}", f"/x/..;jsessionid={TOKEN}", None),
    ("U07 would stay", f"/x/.;jsessionid={TOKEN}", f"/x/.;jsessionid={TOKEN}", None),
    (
        "U07 would climb, escaped",
        f"/x/%2e%2E;jsessionid={TOKEN}",
        f"/x/%2e%2E;jsessionid={TOKEN}",
        None,
    ),
    (
        "U07 would climb, %2F",
        f"/x/y%2F..;jsessionid={TOKEN}",
        f"/x/y%2F..;jsessionid={TOKEN}",
        None,
    ),
    ("U07 dots with a parameter", f"/x/..;a;jsessionid={TOKEN}", "/x/..;a", TOKEN),
    ("U08 a middle segment", f"/a;jsessionid={TOKEN}/b", f"/a;jsessionid={TOKEN}/b", None),
    (
        "U08 a middle and the last",
        f"/a;jsessionid=x/b;jsessionid={TOKEN}",
        "/a;jsessionid=x/b",
        TOKEN,
    ),
    ("U09 two different", f"/a;jsessionid={TOKEN};jsessionid=other", "/a", None),
    ("U09 two equal", f"/a;jsessionid={TOKEN};jsessionid={TOKEN}", "/a", TOKEN),
    ("U09 one malformed", f"/a;jsessionid={TOKEN};jsessionid=", "/a", None),
    ("U10 a parameter before", f"/a;x=1;jsessionid={TOKEN}", "/a;x=1", TOKEN),
    ("U10 a parameter after", f"/a;jsessionid={TOKEN};x=1", "/a;x=1", TOKEN),
    ("U10 parameters around", f"/a;x;jsessionid={TOKEN};;y", "/a;x;;y", TOKEN),
    ("U11 other case", f"/a;JSESSIONID={TOKEN}", f"/a;JSESSIONID={TOKEN}", None),
    ("U11 no =", "/a;jsessionid", "/a;jsessionid", None),
    ("U11 longer name", f"/a;xjsessionid={TOKEN}", f"/a;xjsessionid={TOKEN}", None),
    ("U11 no parameter", f"/jsessionid={TOKEN}", f"/jsessionid={TOKEN}", None),
    ("U11 empty", "/a;jsessionid=", "/a", None),
    ("U11 escaped value", "/a;jsessionid=%41%42", "/a", None),
    ("U11 NUL", "/a;jsessionid=x%00", "/a", None),
    ("U11 513 characters", "/a;jsessionid=" + "x" * 513, "/a", None),
    ("U11 = in the value", "/a;jsessionid=x=y", "/a", None),
    ("U11 comma", "/a;jsessionid=x,y", "/a", None),
    ("U19 two slashes", f"//a;jsessionid={TOKEN}", "//a", TOKEN),
    ("U19 absolute", f"http://evil/a;jsessionid={TOKEN}", "http://evil/a", TOKEN),
    ("U19 no slash", f"*;jsessionid={TOKEN}", f"*;jsessionid={TOKEN}", None),
    ("U19 nothing else", f";jsessionid={TOKEN}", f";jsessionid={TOKEN}", None),
    ("escaped text", f"/caf%C3%A9%20x;jsessionid={TOKEN}", "/caf%C3%A9%20x", TOKEN),
    ("escaped slash", f"/a%2Fb;jsessionid={TOKEN}", "/a%2Fb", TOKEN),
    ("invalid UTF-8", f"/%ff%fe;jsessionid={TOKEN}", "/%ff%fe", TOKEN),
    ("escaped question mark", f"/a%3Fb;jsessionid={TOKEN}", "/a%3Fb", TOKEN),
]


@pytest.mark.parametrize("root_path", ["", "/app", "/a b", "/100%"])
@pytest.mark.parametrize(
    ("raw", "bare", "token"), [row[1:] for row in TAKEN], ids=[row[0] for row in TAKEN]
)
def test_taking(raw: str, bare: str, token: str | None, root_path: str) -> None:
    if root_path and not raw.startswith("/"):
        root_path = ""
    expected = Taken(root_path + unquote(bare), (root_path + bare).encode(), token)
    assert served(raw, root_path) == expected


def test_a_query_in_the_raw_path_is_kept() -> None:
    raw = f"/a;jsessionid={TOKEN}?x=/y;jsessionid=z".encode()
    assert take(f"/a;jsessionid={TOKEN}", raw) == Taken("/a", b"/a?x=/y;jsessionid=z", TOKEN)
    only_there = b"/a?x=/y;jsessionid=z"
    assert take("/a", only_there) == Taken("/a", only_there, None)


def test_U05_without_a_raw_path_nothing_is_taken() -> None:
    path = f"/a;jsessionid={TOKEN}"
    assert take(path, None) == Taken(path, None, None)


@pytest.mark.parametrize("path", ["/b", f"/b;jsessionid={TOKEN}", "", f"/xa;jsessionid={TOKEN}"])
def test_where_path_and_raw_path_differ_nothing_is_taken(path: str) -> None:
    raw = f"/a;jsessionid={TOKEN}".encode()
    assert take(path, raw) == Taken(path, raw, None)


@given(st.binary(max_size=40), st.text(max_size=10))
@settings(max_examples=300, deadline=None)
def test_taking_never_raises(raw: bytes, path: str) -> None:
    for each in (raw, b"/" + raw + b";jsessionid=" + raw, b";jsessionid=" + raw + b"/"):
        taken = take(unquote(each.decode("latin-1")), each)
        assert taken.token is None or looks_like_token(taken.token.encode())
        assert take(path, each).path in (path, *path.split(";"))


@pytest.mark.parametrize(
    ("value", "answer"),
    [("a", True), (TOKEN, True), ("a" * 512, True), ("a" * 513, False), ("", False), ("a b", False),
     ("a\n", False), ("é", False), ("a;b", False), ("a/b", False), ("a=b", False)],
)  # fmt: skip
def test_what_looks_like_a_token(value: str, answer: bool) -> None:
    assert looks_like_token(value.encode()) is answer


J = f";jsessionid={TOKEN}"

ENCODED: list[tuple[str, str, str]] = [
    ("absolute path", "/cart", f"/cart{J}"),
    ("root", "/", f"/{J}"),
    ("query", "/cart?page=2", f"/cart{J}?page=2"),
    ("fragment", "/cart#top", f"/cart{J}#top"),
    ("both", "/cart?page=2#top", f"/cart{J}?page=2#top"),
    ("? in the fragment", "/cart#a?b", f"/cart{J}#a?b"),
    ("/ in the query", "/cart?next=/x;y", f"/cart{J}?next=/x;y"),
    ("trailing slash", "/cart/", f"/cart/{J}"),
    ("parameters", "/cart;x=1?y", f"/cart;x=1{J}?y"),
    ("another id", "/cart;jsessionid=old?y", f"/cart{J}?y"),
    ("another id before", "/cart;jsessionid=old;x=1", f"/cart;x=1{J}"),
    ("two other ids", "/cart;jsessionid=a;jsessionid=b", f"/cart{J}"),
    ("another id in the middle", "/a;jsessionid=old/b", f"/a;jsessionid=old/b{J}"),
    ("only an id", ";jsessionid=old", J),
    ("other case stays", "/a;JSESSIONID=x", f"/a;JSESSIONID=x{J}"),
    ("relative", "cart", f"cart{J}"),
    ("relative, up", "../cart?x", f"../cart{J}?x"),
    ("one dot", ".", f"./{J}"),
    ("two dots", "..?x", f"../{J}?x"),
    ("two dots below", "/a/..", f"/a/../{J}"),
    ("escaped dots", "%2E%2e", f"%2E%2e/{J}"),
    ("dots and a slash", "../", f"../{J}"),
    ("three dots", "...", f"...{J}"),
    ("not ASCII", "/café/漢字?é", f"/café/漢字{J}?é"),
    ("blank inside", "/a b", f"/a b{J}"),
    ("colon after a slash", "/a:b", f"/a:b{J}"),
    ("this page", "", f"./page{J}"),
    ("this page, query", "?page=2", f"./page{J}?page=2"),
    ("this page, query and fragment", "?page=2#x", f"./page{J}?page=2#x"),
    ("same origin", "https://shop.example/cart?x", f"https://shop.example/cart{J}?x"),
    ("same origin, other case", "HTTPS://SHOP.example/cart", f"HTTPS://SHOP.example/cart{J}"),
    ("same origin, port", "https://shop.example:443/cart", f"https://shop.example:443/cart{J}"),
    ("same origin, no path", "https://shop.example", f"https://shop.example/{J}"),
    ("same origin, no path, query", "https://shop.example?x", f"https://shop.example/{J}?x"),
    ("same host, any scheme", "//shop.example/cart", f"//shop.example/cart{J}"),
    ("same host, any scheme, no path", "//shop.example", f"//shop.example/{J}"),
]


@pytest.mark.parametrize(
    ("url", "encoded"), [row[1:] for row in ENCODED], ids=[r[0] for r in ENCODED]
)
def test_encoding(url: str, encoded: str) -> None:
    assert encode_url(url, TOKEN, **OURS) == encoded
    assert encode_url(encoded, TOKEN, **OURS) == encoded


UNCHANGED = [
    "#", "#top", "#/a?b",
    "https://other.example/x", "https://shop.example.evil/x", "https://evil-shop.example/x",
    "http://shop.example/x", "https://shop.example:8443/x", "https://shop.example:/x",
    "ftp://shop.example/x", "https://", "https:///shop.example/x", "https:shop.example/x",
    "https:/shop.example/x", "https:x", "https://shop.example@evil.example/x",
    "https://user@shop.example/x", "https://shop.example:443@evil.example/",
    "https://shop.example:x@evil.example/", "https://[::1]/x", "https://shop\u2024example/x",
    "https://\uff53hop.example/x", "https://shop.example\uff0f.evil/x",
    "//other/x", "//shop.example.evil/x", "//", "///evil.example/x", "////evil.example",
    "//?x", "//#x",
    "//shop.example@evil.example/x", "//@shop.example/x",
    "javascript:alert(1)", "JavaScript:alert(1)", "mailto:a@b.example", "data:text/html,x", "tel:1",
    "a:b", "x-y+z.1:/a", "blob:https://shop.example/x",
    "/\\evil.example", "\\\\evil.example", "\\/evil.example", "a\\b", "https:\\\\shop.example\\x",
    "https://shop.example\\@evil.example/", "/x?a\\b",
    "\t//evil.example", "/\t/evil.example", "/\n/evil.example", "\n/x", "java\nscript:x", "/x\r\nY",
    "/x\0", "\x01/x", "/x\x7f", " /x", " //evil.example", "/x ", " ", "\u0000",
]  # fmt: skip


@pytest.mark.parametrize("url", UNCHANGED, ids=repr)
def test_U15_what_leads_elsewhere_or_may_is_unchanged(url: str) -> None:
    assert encode_url(url, TOKEN, **OURS) == url


@pytest.mark.parametrize(
    ("host", "url", "same"),
    [
        ("localhost:8080", "http://localhost:8080/x", True),
        ("localhost:8080", "http://localhost:8081/x", False),
        ("localhost:8080", "http://localhost/x", False),
        ("localhost:80", "http://localhost/x", True),
        ("localhost", "http://LOCALHOST:80/x", True),
        ("localhost", "http://localhost:443/x", False),
        ("[::1]:8080", "http://[::1]:8080/x", True),
        ("[::1]", "http://[::1]:80/x", True),
        ("[::1]", "http://[::1]/x", True),
        ("[::1]", "http://[::2]/x", False),
        ("", "http:///x", False),
        ("", "http://:80/x", False),
        ("\uff53hop.example", "http://\uff53hop.example/x", False),
        ("evil.example/", "http://evil.example/x", False),
        ("a@evil.example", "http://a@evil.example/x", False),
        ("a%2e", "http://a%2e/x", False),
        ("my_app", "http://my_app/x", True),
    ],
)
def test_hosts_and_ports(host: str, url: str, same: bool) -> None:
    encoded = encode_url(url, TOKEN, scheme="http", host=host, current_path="/")
    assert encoded == (url + J if same else url)


@pytest.mark.parametrize(
    ("current_path", "page"),
    [
        ("/", "./"),
        ("/dir/", "./"),
        ("", "./"),
        ("/dir/page", "./page"),
        ("/dir/a:b", "./a:b"),
        ("/dir/caf%C3%A9", "./caf%C3%A9"),
        ("/dir/a%2Fb", "./a%2Fb"),
        ("/dir/a;x=1", "./a;x=1"),
        ("//evil.example", "./evil.example"),
        ("/dir/'\"><script>", "./%27%22%3E%3Cscript%3E"),
        ("/dir/é\n", "./%C3%A9%0A"),
    ],
)
def test_a_reference_without_a_path_means_this_page(current_path: str, page: str) -> None:
    place = {**OURS, "current_path": current_path}
    assert encode_url("?x=1", TOKEN, **place) == f"{page}{J}?x=1"
    if current_path.startswith("/dir"):
        base = "https://shop.example" + current_path.encode("ascii", "ignore").decode().strip()
        target = urljoin(base, encode_url("?x=1", TOKEN, **place))
        assert target == f"https://shop.example/dir/{page[2:]}{J}?x=1"


def test_a_token_that_is_none_is_a_fault_of_ours() -> None:
    for token in ("", "a;b", "a?b", "é", "a" * 513):
        with pytest.raises(AssertionError):
            encode_url("/x", token, **OURS)


def origin_for_a_browser(url: str) -> tuple[str, str]:
    """Where a browser on our page goes, in short, by the state machine of the WHATWG standard."""
    ours = (OURS["scheme"], OURS["host"])
    url = re.sub("[\t\r\n]", "", url.strip("".join(map(chr, range(0x21)))))
    found = re.match(r"([A-Za-z][A-Za-z0-9+.-]*):", url)
    scheme = found[1].lower() if found else ours[0]
    rest = url[found.end() :] if found else url
    if scheme not in ("http", "https", "ws", "wss", "ftp", "file"):
        return (scheme, "")
    slashes = len(rest) - len(rest.lstrip("/\\"))
    if scheme == ours[0] and slashes < 2:
        return ours
    authority = re.split(r"[/\\?#]", rest.lstrip("/\\"))[0]
    return (scheme, authority.rpartition("@")[2].lower().removesuffix(":443"))


URL_PIECES = st.sampled_from(
    ["https", "http", ":", "/", "//", "\\", "shop.example", "evil.example", "@", "?", "#", ";", ".",
     "..", "jsessionid=", ";jsessionid=x", "a", " ", "\t", "\n", "\0", ":443", "%2e", "javascript:",
     "é"]
)  # fmt: skip


@given(st.lists(URL_PIECES, max_size=8).map("".join))
@settings(max_examples=1500, deadline=None)
def test_U15_a_token_never_leaves_the_origin(url: str) -> None:
    encoded = encode_url(url, TOKEN, **OURS)
    if encoded != url:
        ours = (OURS["scheme"], OURS["host"])
        assert origin_for_a_browser(url) == origin_for_a_browser(encoded) == ours
        assert encoded.count(J) == 1 + url.count(J)


SEGMENT = st.text("abc;=.%é:-x1", max_size=8).filter(
    lambda text: ";jsessionid=" not in text and unquote(text) not in (".", "..")
)
PATHS = st.lists(SEGMENT.filter(lambda text: "%" not in text), min_size=1, max_size=4)


@given(PATHS, st.text("ABCxyz019._-", min_size=1, max_size=100), st.sampled_from(["", "/app"]))
@settings(max_examples=500, deadline=None)
def test_what_is_put_into_a_url_is_taken_from_the_request(
    segments: list[str], token: str, root_path: str
) -> None:
    raw = "/" + "/".join(segments)
    encoded = encode_url(raw, token, **OURS)
    if raw.startswith("//"):
        assert encoded == raw
        return
    path, raw_path = root_path + unquote(encoded), (root_path + encoded).encode()
    taken = take(path, raw_path)
    assert taken == Taken(root_path + unquote(raw), (root_path + raw).encode(), token)
