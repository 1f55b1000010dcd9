"""A host for the members of one test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.channel.running import Host


@pytest.fixture(params=["asyncio", "uvloop", "thread"])
def host(request: pytest.FixtureRequest) -> Iterator[Host]:
    """A host of each kind, ended with the test."""
    with_kind = Host(request.param)
    yield with_kind
    with_kind.close()


@pytest.fixture(params=["asyncio", "uvloop"])
def loop_host(request: pytest.FixtureRequest) -> Iterator[Host]:
    """A host whose members live on the application's loop, of each kind."""
    with_kind = Host(request.param)
    yield with_kind
    with_kind.close()


@pytest.fixture
def thread_host() -> Iterator[Host]:
    """A host whose members live on threads of their own."""
    with_kind = Host("thread")
    yield with_kind
    with_kind.close()
