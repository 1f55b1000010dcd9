"""An application's rooms without its front door: a manager over one process alone, and requests."""

from __future__ import annotations

import re
from typing import Any

from replsession.channel.channel import Channel
from replsession.security.tokens import NAME_CHARACTERS
from replsession.session.expiry import DEFAULT_LIMITS, SessionLimits
from replsession.web.cookies import CookieWriter
from replsession.web.exchange import DEFAULT_POLICY, Exchange, Policy, Site
from replsession.web.listeners import Listeners
from replsession.web.manager import Manager

SECRET = "short"
Headers = list[tuple[bytes, bytes]]


class App:
    """
    One application.

    Args:
        listeners: Who is told.
        context: Its name.
        secrets: The first signs.
        limits: How long sessions live.
        channel: Where records are kept; one process alone by default.
        policy: What its front door was told about waiting.
    """

    def __init__(
        self,
        *listeners: object,
        context: str = "/",
        secrets: tuple[str, ...] = (SECRET,),
        limits: SessionLimits = DEFAULT_LIMITS,
        channel: Channel | None = None,
        policy: Policy = DEFAULT_POLICY,
    ) -> None:
        self.channel = channel or Channel(None)
        self.policy = policy
        self.cookies = CookieWriter("session", max_age=60)
        self.manager = Manager(
            self.channel, context, secrets, limits, Listeners(listeners, context)
        )

    def request(
        self,
        cookie: str | None = None,
        *,
        url: str | None = None,
        is_filtered: bool = False,
        site: Site | None = None,
        headers: Headers | None = None,
    ) -> Exchange:
        """Return the exchange of a request with such a cookie, or such an id in its URL."""
        sent = [(b"host", b"here"), *(headers or [])]
        if cookie is not None:
            sent.append((b"cookie", f"session={cookie}".encode()))
        return Exchange(
            self.manager,
            self.cookies,
            sent,
            url,
            site,
            path="/page",
            is_filtered=is_filtered,
            policy=self.policy,
        )

    def born(self, **values: Any) -> str:
        """Let a request begin a session; return the client's token."""
        exchange = self.request()
        exchange.session.update(values)
        headers = started(exchange)
        token = cookie_in(headers)
        assert token is not None
        return token

    def read(self, cookie: str) -> dict[str, Any]:
        """Return what a request with this cookie finds."""
        return dict(self.request(cookie).session)


def started(exchange: Exchange, headers: Headers | None = None) -> Headers:
    """Start the response; return its headers."""
    out = [] if headers is None else headers
    exchange.start(out)
    return out


def name_of(token: str | None) -> str | None:
    """Return the part of a token that names the session; what its client has seen is cut off."""
    return None if token is None else token[:NAME_CHARACTERS]


def without_seen(url: str) -> str:
    """Cut off what the client of the token in a URL has seen."""
    return re.sub(r"(;jsessionid=[^.]+\.[^.]+)\.[\w-]+", r"\1", url)


def values_of(headers: Headers, name: bytes) -> list[str]:
    """Return the values of all headers of a name."""
    return [value.decode() for key, value in headers if key == name]


def cookie_in(headers: Headers) -> str | None:
    """Return the value that the response gives the cookie; ``"null"`` if it takes it away."""
    cookies = values_of(headers, b"set-cookie")
    assert len(cookies) <= 1
    return cookies[0].partition(";")[0].removeprefix("session=") if cookies else None
