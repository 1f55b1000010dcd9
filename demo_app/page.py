"""
The counter page as HTML. Everything that is put into it is escaped here, in one place.

The page is complete without a script: counting and changing the member are plain links.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources
from string import Template
from urllib.parse import quote, urlsplit, urlunsplit
from zlib import crc32

from replsession import ConfigError

HUES = (212, 150, 28, 285, 340, 185, 55, 250)
"""Colours of the first members, so that one sees who has answered."""

TEMPLATE = Template(resources.files("demo_app").joinpath("page.html").read_text(encoding="utf-8"))

LOOPBACK = ("127.0.0.1", "localhost")
"""Two names of this machine; a browser keeps the cookies of one from the other."""


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A member that the page may link to: its name, and the URL of its page without a path."""

    name: str
    url: str


def neighbours(text: str) -> tuple[Neighbour, ...]:
    """
    Return the members that ``DEMO_MEMBERS`` names.

    Args:
        text: ``NAME=URL`` of every member, with blanks between them.

    Raises:
        ConfigError: something else stands there.
    """
    found = []
    for word in text.split():
        name, _, url = word.partition("=")
        if not name or not _is_site(url):
            raise ConfigError("DEMO_MEMBERS", word, "NAME=http://HOST:PORT, with blanks between")
        found.append(Neighbour(name, url.rstrip("/")))
    return tuple(found)


def link(url: str, token: str, host: str) -> str:
    """
    Return the URL of the page on another member, which carries the session by itself.

    Cookies ignore the port. A member on this machine is therefore called by the other one of the
    machine's two names: else the browser would send the cookie too, and the URL would show nothing.

    Args:
        url: The member's, without a path.
        token: ``session.url_token``.
        host: By which this member was called: a Host header.
    """
    parts = urlsplit(url)
    netloc = parts.netloc
    if _is_on_this_machine(url):
        name = other_name(host)
        netloc = name if parts.port is None else f"{name}:{parts.port}"
    return urlunsplit((parts.scheme, netloc, f"/;jsessionid={token}", "", ""))


def other_name(host: str) -> str:
    """Return the name of this machine, of the two, that is not the one in a Host header."""
    return LOOPBACK[1] if host.partition(":")[0] == LOOPBACK[0] else LOOPBACK[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """
    What the page shows.

    Args:
        member: Name of the member that answers.
        process: Its process id.
        members: Names of the other members that are up.
        neighbours: All members that may be linked to, perhaps with this one.
        host: The request's Host header.
        counter: Visits so far.
        session_id: ``session.id``.
        url_token: ``session.url_token``.
        is_new: ``session.is_new``.
        attributes: The session.
        encode_url: ``session.encode_url``: keeps the id in links where no cookie carries it.
    """

    member: str
    process: int
    members: Sequence[str]
    neighbours: Sequence[Neighbour]
    host: str
    counter: int
    session_id: str
    url_token: str
    is_new: bool
    attributes: Mapping[str, object]
    encode_url: Callable[[str], str]

    def html(self) -> str:
        """Return the whole page."""
        texts = {
            "hue": self._hue(),
            "member": self.member,
            "process": self.process,
            "counter": self.counter,
            "visits": "visit" if self.counter == 1 else "visits",
            "session_id": self.session_id,
            "is_new": "yes" if self.is_new else "no",
            "again": self.encode_url("/"),
            "session_json": self.encode_url("/session.json"),
            "rotate": self.encode_url("/rotate"),
            "logout": self.encode_url("/logout"),
            "set_attributes": self.encode_url("/attributes"),
        }
        return TEMPLATE.substitute(
            {name: escape(str(text)) for name, text in texts.items()},
            neighbours=self._neighbours_html(),
            attributes="\n".join(self._attribute_html(*item) for item in self.attributes.items()),
        )

    def _hue(self) -> int:
        for neighbour, hue in zip(self.neighbours, HUES, strict=False):
            if neighbour.name == self.member:
                return hue
        return crc32(self.member.encode("utf-8", "replace")) % 360

    def _neighbours_html(self) -> str:
        others = [each for each in self.neighbours if each.name != self.member]
        linked = {each.name for each in others}
        items = [self._neighbour_html(each) for each in others]
        items += [
            f"<li>{escape(name)} {_badge(is_up=True)}</li>"
            for name in self.members
            if name not in linked
        ]
        texts = [self._about_links(others)] if others else []
        texts.append(
            "To see the session survive, end this member with "
            f"<code>kill -9 {self.process}</code> and go on counting on another one."
            if self.members
            else "No other member is up: the session is in the memory of this one alone."
        )
        soft = "".join(f'<p class="soft">{text}</p>' for text in texts)
        return f"<ul>{''.join(items)}</ul>{soft}"

    def _about_links(self, others: Sequence[Neighbour]) -> str:
        text = "The link carries the session’s id in its URL: whoever has it, has the session."
        if not any(_is_on_this_machine(each.url) for each in others):
            return text
        return (
            f"{text} It says {other_name(self.host)}, since cookies ignore the port: the same "
            "host name would bring the cookie along, and the URL would show nothing."
        )

    def _neighbour_html(self, neighbour: Neighbour) -> str:
        href = escape(link(neighbour.url, self.url_token, self.host))
        badge = _badge(is_up=neighbour.name in self.members)
        name = escape(neighbour.name)
        return f'<li><a class="button" href="{href}">Go on with {name}</a> {badge}</li>'

    def _attribute_html(self, name: str, value: object) -> str:
        url = escape(self.encode_url("/attributes/" + quote(name, safe="")))
        return (
            f'<tr><td>{escape(name)}</td><td><div class="mono">{escape(repr(value))}</div></td>'
            f'<td><form data-method="DELETE" data-url="{url}">'
            f'<button class="quiet" aria-label="remove {escape(name)}">remove</button>'
            "</form></td></tr>"
        )


def _badge(*, is_up: bool) -> str:
    return '<span class="badge">up</span>' if is_up else '<span class="badge down">down</span>'


def _is_on_this_machine(url: str) -> bool:
    return urlsplit(url).hostname in LOOPBACK


def _is_site(url: str) -> bool:
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - asked for, since it raises where there is a wrong one
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.path in ("", "/")
