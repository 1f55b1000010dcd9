"""The scenarios of two requests that overlap, behind Django, which serves no websockets."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.conformance.overlap import SCENARIOS, Door
from tests.django.doors import DjangoDoor, DjangoLoopDoor


@pytest.mark.parametrize("door", [DjangoDoor, DjangoLoopDoor])
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_it_holds(door: Callable[[], Door], scenario: Callable[[Door], None]) -> None:
    scenario(door())
