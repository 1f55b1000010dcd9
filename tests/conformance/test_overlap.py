"""The scenarios of two requests that overlap, behind every front door."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.conformance.doors import AsgiDoor, WsgiDoor
from tests.conformance.overlap import NEED_WEBSOCKETS, SCENARIOS, Door

DOORS: dict[str, Callable[[], Door]] = {
    "ASGI on asyncio": lambda: AsgiDoor("asyncio"),
    "ASGI on trio": lambda: AsgiDoor("trio"),
    "WSGI": WsgiDoor,
}


@pytest.fixture(params=list(DOORS.values()), ids=list(DOORS))
def door(request: pytest.FixtureRequest) -> Iterator[Door]:
    """An application behind each of the front doors."""
    door: Door = request.param()
    yield door
    door.close()


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_it_holds(door: Door, scenario: Callable[[Door], None]) -> None:
    if scenario in NEED_WEBSOCKETS and not door.has_websockets:
        with pytest.raises(NotImplementedError):
            scenario(door)
    else:
        scenario(door)
