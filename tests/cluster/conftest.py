"""One cluster for the tests of a module, as long as each of them leaves it whole."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.cluster import bridge
from tests.cluster.loaded import LoadedCluster


class Shop:
    """Hands out a cluster of three members, a new one whenever the last one is not whole."""

    def __init__(self) -> None:
        self._open = ExitStack()
        self._cluster: LoadedCluster | None = None

    def cluster(self) -> LoadedCluster:
        """Return three members that are ready and agree."""
        if self._cluster is None or not self._cluster.is_whole():
            self.close()
            self._cluster = self._open.enter_context(LoadedCluster.made(3))
        return self._cluster

    def close(self) -> None:
        """End what runs."""
        self._open.close()
        self._cluster = None


@pytest.fixture(scope="session")
def possible() -> None:
    """Skip where the system lets nobody make a network."""
    reason = bridge.why_not()
    if reason is not None:
        pytest.skip(reason)


@pytest.fixture(scope="module")
def shop(possible: None) -> Iterator[Shop]:
    """Return where to get a cluster."""
    shop = Shop()
    yield shop
    shop.close()


@pytest.fixture
def cluster(shop: Shop) -> LoadedCluster:
    """Return three members that are ready and agree, perhaps with sessions of other tests."""
    return shop.cluster()
