"""
What the session interfaces of Flask and of Quart share beside their configuration.

Both write their cookies and headers with Werkzeug, whose objects come in from the front doors.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from replsession.channel.waiting import Waiter
from replsession.errors import SessionError
from replsession.web.configured import ConfiguredSession
from replsession.web.exchange import Exchange
from replsession.web.refusal import STATUS, refusal
from replsession.web.settings import UNSET, Unset

ARRIVED = "replsession.arrived"
EXCHANGE = "replsession.exchange"
REFUSED = "replsession.refused"
"""Where a request keeps what came in its path, its exchange, and why it must not be answered: in
the environ of WSGI, in the scope of ASGI."""


class ConfiguredCookies:
    """
    Writes the cookie of one request as the framework's own session interface does.

    Args:
        door: The framework's session interface, which knows its settings.
        app: The framework's application.
        dump: Werkzeug's ``dump_cookie``.
    """

    def __init__(self, door: Any, app: Any, dump: Callable[..., str]) -> None:
        self.name = door.get_cookie_name(app).encode()
        self.session: ConfiguredSession | None = None
        """Set when it is there: whether it is permanent, says for how long the browser keeps it."""
        self._door = door
        self._app = app
        self._dump = dump

    def set(self, value: str, max_age: int | Unset | None = UNSET) -> bytes:
        """
        Return the header's value that gives the cookie a value.

        Args:
            value: A token that we signed.
            max_age: Seconds that the browser keeps it this time; None: for as long as it runs.
                Unset: as the framework says.
        """
        if not isinstance(max_age, Unset):
            return self._dumped(value, None, max_age)
        return self._dumped(value, self._door.get_expiration_time(self._app, self.session), None)

    def delete(self) -> bytes:
        """Return the header's value that makes the browser forget the cookie."""
        return self._dumped("", 0, 0)

    def _dumped(self, value: str, expires: Any, max_age: int | None) -> bytes:
        door, app = self._door, self._app
        return self._dump(
            self.name.decode(),
            value,
            max_age=max_age,
            expires=expires,
            path=door.get_cookie_path(app),
            domain=door.get_cookie_domain(app),
            secure=door.get_cookie_secure(app),
            httponly=door.get_cookie_httponly(app),
            samesite=door.get_cookie_samesite(app),
            partitioned=door.get_cookie_partitioned(app),
        ).encode("latin-1")


_Session = TypeVar("_Session", bound=ConfiguredSession)


def session_of(exchange: Exchange, session_class: type[_Session]) -> _Session:
    """
    Return the session of a request that has waited, also of one that must be refused.

    What must be refused since this member has no state yet gets an empty session, in which nothing
    begins a new one: the client would lose its own.
    """
    if not hasattr(exchange, "session"):
        exchange.session = session_class.attached(exchange, None)
        exchange.session.stay_unborn()
    session = exchange.session
    assert isinstance(session, session_class)
    return session


def started(
    exchange: Exchange, session: ConfiguredSession, headers: Any, *, renews: bool
) -> Waiter | None:
    """
    Start the response: commit, and put into its headers what belongs there.

    Args:
        exchange: Of the request.
        session: Of the request.
        headers: Werkzeug's, of the response.
        renews: The cookie is to be sent in any case.

    Returns:
        What must be waited for before they leave.

    Raises:
        SessionError: something can't be stored. The page that the framework makes of the error is
            started, too: it gets no cookie then, and what it wrote is not kept either.
    """
    ours: list[tuple[bytes, bytes]] = []
    if session.was_refused:
        return None
    try:
        waiter = exchange.start(ours, renews=renews)
    except SessionError:
        session.was_refused = True
        raise
    if ours or session.accessed:
        _vary(headers)
    for name, value in ours:
        if name == b"set-cookie":
            headers.add("Set-Cookie", value.decode("latin-1"))
        elif name != b"vary":
            headers.setdefault(name.decode().title(), value.decode())
    return waiter


def _vary(headers: Any) -> None:
    named = [name.strip() for line in headers.getlist("Vary") for name in line.split(",")]
    if not any(name.lower() in ("cookie", "*") for name in named):
        headers["Vary"] = ", ".join([*named, "Cookie"])


def answer_instead(response: Any, why: str) -> None:
    """Turn Werkzeug's or Quart's response into a 503 that keeps its cookies: nothing is undone."""
    cookies = response.headers.getlist("Set-Cookie")
    headers, body = refusal(why, [(b"set-cookie", cookie.encode("latin-1")) for cookie in cookies])
    response.status_code = STATUS
    response.set_data(body)
    response.headers.clear()
    for name, value in headers:
        response.headers.add(name.decode().title(), value.decode("latin-1"))
