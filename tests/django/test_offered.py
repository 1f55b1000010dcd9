"""Names of our own sessions that Django's store offers."""

from __future__ import annotations

import pytest

from replsession.django.offered import Offered


class Inner:
    """Stands for a session."""

    size = 1

    def double(self) -> int:
        """Return twice the size."""
        return 2 * self.size


class Store:
    """Stands for a store."""

    size = Offered()
    double = Offered()
    missing = Offered()

    def __init__(self) -> None:
        self._session = Inner()


def test_it_is_what_the_session_has() -> None:
    store = Store()
    assert store.size == 1
    store.size = 3
    assert store._session.size == 3
    assert store.double() == 6
    assert "size" not in vars(store)
    assert isinstance(Store.size, Offered)
    with pytest.raises(AttributeError):
        store.missing  # noqa: B018 - asking is the test
