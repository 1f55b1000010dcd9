"""The page: what it shows, where its links lead, and that nothing in it is markup but its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demo_app.page import HUES, Neighbour, Page, link, neighbours
from replsession import ConfigError

TOKEN = "AdcvpooRz5Z4.VlrdcU-qph_iHB"
MEMBERS = neighbours("member-1=http://127.0.0.1:8080 member-2=http://127.0.0.1:8081")


def page(
    member: str = "member-1",
    members: Sequence[str] = ("member-2",),
    known: Sequence[Neighbour] = MEMBERS,
    attributes: Mapping[str, object] | None = None,
    **changed: Any,
) -> str:
    fields: dict[str, Any] = {
        "process": 4711,
        "host": "127.0.0.1:8080",
        "counter": 3,
        "session_id": "PKrX0bDq3vyUYQd5Hn2sCw7e",
        "url_token": TOKEN,
        "is_new": False,
        "encode_url": lambda url: url,
    }
    shown = {"counter": 3} if attributes is None else attributes
    return Page(
        member=member,
        members=members,
        neighbours=known,
        attributes=shown,
        **{**fields, **changed},
    ).html()


class Reader(HTMLParser):
    """Reads a page as a browser does: elements with their attributes, and the text in between."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.by_id: dict[str, str] = {}
        self._id: str | None = None
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._id = dict(attrs).get("id")

    def handle_endtag(self, tag: str) -> None:
        self._id = None

    def handle_data(self, data: str) -> None:
        self.texts.append(data)
        if self._id is not None:
            self.by_id[self._id] = data

    def values(self, tag: str, attribute: str) -> list[str]:
        """Return an attribute of all elements of one kind that have it."""
        found = (attributes.get(attribute) for name, attributes in self.elements if name == tag)
        return [value for value in found if value is not None]


def test_it_shows_who_answered_and_what_is_in_the_session() -> None:
    read = Reader(page(attributes={"counter": 3, "cart": ["pen", {"price": 2.5}]}, is_new=True))
    shown = {name: read.by_id[name] for name in ("counter", "member", "process", "session", "new")}
    assert shown == {
        "counter": "3",
        "member": "member-1",
        "process": "4711",
        "session": "PKrX0bDq3vyUYQd5Hn2sCw7e",
        "new": "yes",
    }
    for text in ("counter", "3", "cart", "['pen', {'price': 2.5}]"):
        assert text in read.texts


def test_it_needs_nothing_from_elsewhere() -> None:
    read = Reader(page())
    assert read.values("script", "src") == []
    assert read.values("img", "src") == []
    assert read.values("link", "href") == ["data:,"]
    assert "url(" not in page()
    assert "@import" not in page()


TEXTS = st.text(max_size=20) | st.sampled_from(
    [
        "<script>alert(1)</script>",
        '"><b>',
        "'",
        "&amp;",
        "$counter",
        "${x}",
        "</td>",
        "\x00",
        "é/;?#",
    ]
)


@given(name=TEXTS, value=TEXTS, member=TEXTS, other=TEXTS)
def test_nothing_that_is_shown_becomes_markup(
    name: str, value: str, member: str, other: str
) -> None:
    plain = Reader(page(member="m", members=["o"], attributes={"a": "v"}))
    read = Reader(page(member=member, members=[other], attributes={name: value}))
    # The same elements with the same attributes, whatever the texts are.
    assert [(tag, list(found)) for tag, found in read.elements] == [
        (tag, list(found)) for tag, found in plain.elements
    ]
    # "repr" leaves no line ends and no NUL, which browsers would change.
    assert repr(value) in "".join(read.texts)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1:8080", "http://localhost:8081/;jsessionid="),
        ("localhost:8080", "http://127.0.0.1:8081/;jsessionid="),
        ("127.0.0.1", "http://localhost:8081/;jsessionid="),
        ("[::1]:8080", "http://127.0.0.1:8081/;jsessionid="),
        ("", "http://127.0.0.1:8081/;jsessionid="),
    ],
)
def test_the_link_uses_the_other_name_of_this_machine(host: str, expected: str) -> None:
    assert Reader(page(host=host)).values("a", "href").count(expected + TOKEN) == 1


def test_a_member_elsewhere_is_called_by_its_own_name() -> None:
    url = link("https://shop.example:8443", TOKEN, "127.0.0.1:8080")
    assert url == f"https://shop.example:8443/;jsessionid={TOKEN}"


def test_every_link_within_the_page_keeps_the_id_where_that_is_needed() -> None:
    read = Reader(page(encode_url=lambda url: f"{url};jsessionid=T", attributes={"a/b": 1}))
    assert "/;jsessionid=T" in read.values("a", "href")
    assert "/session.json;jsessionid=T" in read.values("a", "href")
    assert read.values("form", "data-url") == [
        "/rotate;jsessionid=T",
        "/logout;jsessionid=T",
        "/attributes/a%2Fb;jsessionid=T",
        "/attributes;jsessionid=T",
    ]


def test_it_says_why_the_link_has_another_host_name() -> None:
    assert "It says localhost, since cookies ignore the port" in page()
    elsewhere = page(known=neighbours("member-2=http://10.0.0.2:8080"))
    assert "whoever has it, has the session" in elsewhere
    assert "cookies ignore the port" not in elsewhere


def test_it_says_how_to_see_a_session_survive_where_it_can() -> None:
    assert "kill -9 4711" in page()
    for known in (MEMBERS, ()):
        alone = page(members=[], known=known)
        assert "in the memory of this one alone" in alone
        assert "kill" not in alone


@pytest.mark.parametrize(
    ("members", "known", "badges"),
    [
        (["member-2"], MEMBERS, [("member-2", "up")]),
        ([], MEMBERS, [("member-2", "down")]),
        (["member-2", "member-3"], MEMBERS, [("member-2", "up"), ("member-3", "up")]),
        (["other"], (), [("other", "up")]),
    ],
)
def test_it_shows_the_other_members(
    members: list[str], known: Sequence[Neighbour], badges: list[tuple[str, str]]
) -> None:
    html = page(members=members, known=known)
    assert html.count('class="badge') == len(badges)
    texts = [text.strip().removeprefix("Go on with ") for text in Reader(html).texts]
    for name, state in badges:
        assert state in texts[texts.index(name) :]


def test_members_have_colours_of_their_own() -> None:
    assert f"--hue: {HUES[0]}" in page("member-1")
    assert f"--hue: {HUES[1]}" in page("member-2")
    assert page("somebody", known=()) == page("somebody", known=())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ()),
        ("a=http://h:1", (Neighbour("a", "http://h:1"),)),
        (
            " a=http://h:1/  b=https://h ",
            (Neighbour("a", "http://h:1"), Neighbour("b", "https://h")),
        ),
    ],
)
def test_members_are_read(text: str, expected: tuple[Neighbour, ...]) -> None:
    assert neighbours(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "a",
        "=http://h",
        "a=",
        "a=h:1",
        "a=ftp://h",
        "a=http://",
        "a=http://h/path",
        "a=http://h:x",
        "a=http://[h",
    ],
)
def test_a_wrong_member_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="DEMO_MEMBERS") as raised:
        neighbours(f"b=http://h {text}")
    assert raised.value.given == text
