"""The scenarios of two requests that overlap, behind every front door."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask
from flask.sessions import SecureCookieSessionInterface

from replsession.channel.channel import Channel
from tests.conformance import overlap
from tests.conformance.doors import AsgiDoor, FlaskDoor, QuartDoor, WsgiDoor
from tests.conformance.overlap import IN_WEBSOCKETS, SCENARIOS, Door, WebsocketDoor

WITH_WEBSOCKETS: dict[str, Callable[[], WebsocketDoor]] = {
    "ASGI on asyncio": lambda: AsgiDoor("asyncio"),
    "ASGI on trio": lambda: AsgiDoor("trio"),
    "Quart": QuartDoor,
}
DOORS: dict[str, Callable[[], Door]] = {"WSGI": WsgiDoor, "Flask": FlaskDoor, **WITH_WEBSOCKETS}


@pytest.fixture(params=list(DOORS))
def door(request: pytest.FixtureRequest) -> Iterator[Door]:
    """An application behind each of the front doors."""
    door = DOORS[request.param]()
    yield door
    door.close()


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_it_holds(door: Door, scenario: Callable[[Door], None]) -> None:
    scenario(door)


@pytest.mark.parametrize("door", WITH_WEBSOCKETS, indirect=True)
@pytest.mark.parametrize("scenario", IN_WEBSOCKETS, ids=lambda scenario: scenario.__name__)
def test_it_holds_in_websockets(
    door: WebsocketDoor, scenario: Callable[[WebsocketDoor], None]
) -> None:
    scenario(door)


class FlaskWithoutUs(FlaskDoor):
    """A Flask application with the session in its cookie, as Flask brings it."""

    def built(self) -> tuple[Any, Channel]:
        app, _ = super().built()
        assert isinstance(app, Flask)
        app.session_interface = SecureCookieSessionInterface()
        return app, Channel(None)

    def log_out(self, session: Any) -> None:
        session.clear()


@pytest.mark.parametrize(
    "scenario",
    [
        overlap.different_keys_are_kept_from_both,
        overlap.logout_beats_a_slow_writer,
        overlap.writes_while_streaming_are_kept,
        overlap.changes_in_place_are_kept,
    ],
)
def test_a_session_in_a_cookie_is_found_out(scenario: Callable[[Door], None]) -> None:
    with pytest.raises(AssertionError):
        scenario(FlaskWithoutUs())
