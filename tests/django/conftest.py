"""What the tests of Django's front door share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.django import project
from tests.django.project import Browser

from django.test import override_settings  # isort: skip


@pytest.fixture(autouse=True)
def alone() -> Iterator[None]:
    """Sessions of this test alone, in one process."""
    with override_settings(REPLSESSION={"CLUSTER": None}):
        yield


@pytest.fixture
def browser() -> Browser:
    """A browser without cookies."""
    return project.Browser()
