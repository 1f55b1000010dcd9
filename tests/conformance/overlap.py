"""
What must hold behind every front door when two requests overlap, as one table of scenarios.

A scenario knows a front door by a :class:`Door`, which a driver implements (``doors.py``). A
request that was begun waits in its page, and does what it is told in the order in which the
scenario says it: so a scenario decides what overlaps, and nothing sleeps.

::

    slow = door.begin(cookie)              the request has arrived, and has its session
    slow.act(lambda session: …)            its page does this; returns what that returned
    slow.stream()                          its response starts; the page goes on
    reply = slow.finish()                  the page ends; what the response said

A page is written once for a framework: ``if script.run(session): stream … else: answer``.
"""

from __future__ import annotations

import queue
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, NamedTuple, TypeVar

WITHIN_S = 30.0
"""Ten times what the slowest step takes; only a test that fails waits so long."""
ID_CHARACTERS = 39
"""Of a token: locator and secret part, before the signature."""

T = TypeVar("T")
Act = Callable[[Any], T]


class Reply(NamedTuple):
    """
    What a response said.

    Args:
        cookie: The value of the session's cookie; empty: it is taken away; None: no cookie is set.
        varies: Whether ``Vary`` names the cookie.
    """

    cookie: str | None
    varies: bool


class Script:
    """What a test lets the page of one request do, from outside of the thread it runs on."""

    def __init__(self) -> None:
        self._steps: queue.Queue[tuple[Act[Any], Future[Any]] | bool] = queue.Queue()
        self._arrived: Future[None] = Future()
        self._has_started: Future[None] = Future()
        self._over: Future[None] = Future()

    def run(self, session: Any) -> bool:
        """For pages: do what the test says; return whether the response shall be streamed."""
        if not self._arrived.done():
            self._arrived.set_result(None)
        while not isinstance(step := self._steps.get(timeout=WITHIN_S), bool):
            act, future = step
            try:
                future.set_result(act(session))
            except Exception as error:  # noqa: BLE001 - the scenario gets it
                future.set_exception(error)
        return step

    def stream(self, session: Any) -> None:
        """For pages that stream, after a first chunk was sent: go on with what the test says."""
        self._has_started.set_result(None)
        self.run(session)

    def wait_until_arrived(self) -> None:
        """For drivers: wait until the page runs."""
        self._arrived.result(WITHIN_S)

    def act(self, act: Act[T]) -> T:
        """For scenarios: let the page do this."""
        future: Future[T] = Future()
        self._steps.put((act, future))
        return future.result(WITHIN_S)

    def start_streaming(self) -> None:
        """For drivers: let the response start, and wait until it has."""
        self._steps.put(True)
        self._has_started.result(WITHIN_S)

    def end(self) -> None:
        """For drivers: let the page end."""
        self._steps.put(False)
        self._over.set_result(None)

    def wait_until_over(self) -> None:
        """For drivers: wait until the test has nothing more to say."""
        self._over.result(WITHIN_S)


class Request(ABC):
    """A request that has arrived and waits in its page."""

    script: Script

    def act(self, act: Act[T]) -> T:
        """Let its page do this with the session; return what that returned."""
        return self.script.act(act)

    def stream(self) -> None:
        """Let the response start with a first chunk; a websocket: accept it."""
        self.script.start_streaming()

    @abstractmethod
    def finish(self) -> Reply:
        """Let the page end, and wait for the response."""


class Door(ABC):
    """An application behind a front door, with a store of its own."""

    @abstractmethod
    def begin(self, cookie: str | None) -> Request:
        """Send a request with this cookie; return when its page runs."""

    @abstractmethod
    def another(self) -> Door:
        """Return an application with the same secret and another store."""

    @abstractmethod
    def count(self) -> int:
        """Return how many sessions there are."""

    def close(self) -> None:  # noqa: B027 - most doors start nothing
        """End what was started."""

    # What an application does, in the habits of its framework.

    def content(self, session: Any) -> dict[str, Any]:
        """Return what is in the session."""
        return dict(session)

    def log_out(self, session: Any) -> None:
        """End the session."""
        session.invalidate()

    def rotate(self, session: Any) -> None:
        """Give the session another id."""
        session.rotate_id()


class WebsocketDoor(Door):
    """One that serves websockets, too."""

    @abstractmethod
    def begin_websocket(self, cookie: str | None) -> Request:
        """Open a websocket with this cookie; return when its handler runs."""


class Client:
    """A browser: keeps the cookie."""

    def __init__(self, door: Door, cookie: str | None = None) -> None:
        self.door = door
        self.cookie = cookie

    def begin(self) -> Request:
        """Send a request whose reply this browser will not hear of, unless it is kept."""
        return self.door.begin(self.cookie)

    def keep(self, reply: Reply) -> Reply:
        """Take the cookie that a response brought."""
        if reply.cookie is not None:
            self.cookie = reply.cookie or None
        return reply

    def request(self, act: Act[T]) -> T:
        """Ask for a page that does this."""
        request = self.begin()
        result = request.act(act)
        self.keep(request.finish())
        return result

    def content(self) -> dict[str, Any]:
        """Return what a page finds in the session."""
        return self.request(self.door.content)


def put(**values: Any) -> Act[None]:
    """Return what writes these attributes."""

    def act(session: Any) -> None:
        for name, value in values.items():
            session[name] = value

    return act


def logged_in(door: Door, **values: Any) -> Client:
    """Return a browser with a session."""
    client = Client(door)
    client.request(put(**values))
    assert client.cookie is not None
    return client


def different_keys_are_kept_from_both(door: Door) -> None:
    """Two requests that write different attributes."""
    client = logged_in(door, n=0)
    slow, quick = client.begin(), client.begin()
    slow.act(put(a=1))
    quick.act(put(b=2))
    client.keep(quick.finish())
    client.keep(slow.finish())
    assert client.content() == {"n": 0, "a": 1, "b": 2}


def logout_beats_a_slow_writer(door: Door) -> None:
    """A request that read, and writes after another one has logged out."""
    client = logged_in(door, user="anna")
    old = client.cookie
    slow = client.begin()
    assert slow.act(lambda session: session["user"]) == "anna"
    client.request(door.log_out)
    assert client.cookie is None
    slow.act(put(late=True))
    assert slow.finish().cookie in (None, "")
    assert door.count() == 0
    assert Client(door, old).content() == {}


def an_unknown_id_is_never_adopted(door: Door) -> None:
    """Ids that a client made up, damaged, or got elsewhere."""
    another = door.another()
    foreign = logged_in(another, n=1).cookie
    another.close()
    ended = logged_in(door, n=1)
    dead = ended.cookie
    ended.request(door.log_out)
    assert foreign is not None and dead is not None
    for chosen in ("A" * 43, foreign, dead, foreign[:-1], foreign.swapcase()):
        client = Client(door, chosen)
        client.request(put(n=2))
        assert client.cookie is not None
        assert client.cookie[:ID_CHARACTERS] != chosen[:ID_CHARACTERS]
        assert Client(door, chosen).content() == {}


def writes_while_streaming_are_kept(door: Door) -> None:
    """A response that has started goes on writing."""
    client = logged_in(door, n=0)
    slow = client.begin()
    slow.act(put(before=1))
    slow.stream()
    slow.act(put(after=2))
    client.request(put(other=3))
    reply = slow.finish()
    client.keep(reply)
    assert client.content() == {"n": 0, "before": 1, "after": 2, "other": 3}


def writes_inside_a_websocket_are_kept(door: WebsocketDoor) -> None:
    """A websocket that stays open writes, and reads nothing back over what is newer."""
    client = logged_in(door, n=0)
    socket = door.begin_websocket(client.cookie)
    socket.act(put(before=1))
    socket.stream()
    socket.act(put(after=2))
    client.request(put(n=1))
    client.keep(socket.finish())
    assert client.content() == {"n": 1, "before": 1, "after": 2}


def a_slow_reader_rolls_nothing_back(door: Door) -> None:
    """A request that reads all, before and after another one has written."""
    client = logged_in(door, n=1, cart=[])
    slow = client.begin()
    assert slow.act(door.content) == {"n": 1, "cart": []}
    client.request(put(n=2, cart=[1]))
    slow.act(door.content)
    assert slow.finish().cookie is None
    assert client.content() == {"n": 2, "cart": [1]}


def changes_in_place_are_kept(door: Door) -> None:
    """Two requests change two values deep inside, without assigning anything."""
    client = logged_in(door, cart=[{"tags": []}], seen=[])
    slow, quick = client.begin(), client.begin()
    slow.act(lambda session: session["cart"][0]["tags"].append("new"))
    quick.act(lambda session: session["seen"].append(7))
    client.keep(quick.finish())
    client.keep(slow.finish())
    assert client.content() == {"cart": [{"tags": ["new"]}], "seen": [7]}


def a_new_id_is_given_to_nobody_else(door: Door) -> None:
    """A login rotates the id while another request with the old one runs, and writes."""
    client = logged_in(door, cart=1)
    old = client.cookie
    assert old is not None
    slow, reading = client.begin(), client.begin()
    slow.act(door.content)
    reading.act(door.content)

    def login(session: Any) -> None:
        session["user"] = "anna"
        door.rotate(session)

    client.request(login)
    assert client.cookie is not None
    assert client.cookie[:ID_CHARACTERS] != old[:ID_CHARACTERS]
    slow.act(put(seen=True))
    assert slow.finish().cookie in (None, "")
    assert reading.finish().cookie is None
    assert client.content() == {"cart": 1, "user": "anna", "seen": True}
    assert Client(door, old).content() == {}


def of_two_rotations_one_id_lives(door: Door) -> None:
    """Two requests rotate the same id at once."""
    client = logged_in(door, n=1)
    old = client.cookie
    slow, quick = client.begin(), client.begin()
    slow.act(door.rotate)
    quick.act(door.rotate)
    cookies = [quick.finish().cookie, slow.finish().cookie]
    found = [Client(door, cookie).content() for cookie in cookies if cookie]
    assert found.count({"n": 1}) == 1
    assert Client(door, old).content() == {}
    assert door.count() == 1


def reading_creates_no_session_and_sets_no_cookie(door: Door) -> None:
    """Somebody without a session, who only looks."""
    client = Client(door)
    for look in (door.content, lambda session: session.get("n"), lambda session: "n" in session):
        request = client.begin()
        request.act(look)
        reply = request.finish()
        assert reply == Reply(None, varies=True)
    assert door.count() == 0
    assert logged_in(door, n=1).begin().finish() == Reply(None, varies=False)


SCENARIOS: tuple[Callable[[Door], None], ...] = (
    different_keys_are_kept_from_both,
    logout_beats_a_slow_writer,
    an_unknown_id_is_never_adopted,
    writes_while_streaming_are_kept,
    a_slow_reader_rolls_nothing_back,
    changes_in_place_are_kept,
    a_new_id_is_given_to_nobody_else,
    of_two_rotations_one_id_lives,
    reading_creates_no_session_and_sets_no_cookie,
)
IN_WEBSOCKETS: tuple[Callable[[WebsocketDoor], None], ...] = (writes_inside_a_websocket_are_kept,)
