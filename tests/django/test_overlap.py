"""The scenarios of two requests that overlap, behind Django."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.conformance.overlap import NEED_WEBSOCKETS, SCENARIOS, Door
from tests.django.doors import DjangoDoor, DjangoLoopDoor

# Django serves no websockets.
HTTP = [scenario for scenario in SCENARIOS if scenario not in NEED_WEBSOCKETS]


@pytest.mark.parametrize("door", [DjangoDoor, DjangoLoopDoor])
@pytest.mark.parametrize("scenario", HTTP, ids=lambda scenario: scenario.__name__)
def test_it_holds(door: Callable[[], Door], scenario: Callable[[Door], None]) -> None:
    scenario(door())
