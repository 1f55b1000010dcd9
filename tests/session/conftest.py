"""What the tests of sessions share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from replsession.session import registry


@pytest.fixture
def own_registry() -> Iterator[None]:
    """Forget afterwards what a test registers."""
    names, classes = dict(registry.by_name), dict(registry.by_class)
    yield
    for held, before in ((registry.by_name, names), (registry.by_class, classes)):
        held.clear()
        held.update(before)  # type: ignore[arg-type]
