"""
What an application says of waiting, with a second member that really runs, on threads of its own.

Each test has its own cluster over loopback. Nothing asserts a time: whoever would wait in vain
fails at the bound of the test.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import anyio
import anyio.to_thread
import pytest

from replsession import Cluster, Session, SessionMiddleware
from replsession.errors import ReplicationTimeout
from tests.browser import Browser, Page, lifespan, site
from tests.channel.running import free_port, some_group, until

pytestmark = pytest.mark.anyio
SECRET = "short"
ROUNDS = 40


async def counter(session: Session) -> object:
    session["n"] = session.get("n", 0) + 1
    return [session["n"], session.stale]


class Two:
    """Two members, each with an application whose page may be exchanged."""

    def __init__(self) -> None:
        options: dict[str, Any] = {
            "secret": "of both",
            "multicast": some_group(),
            "heartbeat_interval_s": 0.1,
            "drop_after_s": 5.0,
        }
        self.clusters = [
            # The second one is never the first, however slow the machine is.
            Cluster.local(port=free_port(), member_name="one", discovery_s=0.15, **options),
            Cluster.local(port=free_port(), member_name="two", discovery_s=20.0, **options),
        ]
        self.members = [
            SessionMiddleware(site(counter), SECRET, cluster=cluster, ack_timeout_s=20.0)
            for cluster in self.clusters
        ]
        self.browser = Browser(self.members[0])

    def start(self, *numbers: int) -> None:
        """Start members on threads, and wait until all that are there see each other."""
        for number in numbers:
            self.members[number]._channel.ensure_started()
        self.until_met()

    def until_met(self) -> None:
        """Wait until both are ready and see each other."""
        until(lambda: all(cluster.is_ready for cluster in self.clusters), "both ready")
        until(lambda: all(self._sees_a_ready_one(member) for member in self.members), "both up")

    def _sees_a_ready_one(self, member: SessionMiddleware) -> bool:
        local = member._channel.member
        with local.lock:
            others = list(local.node.membership.view)
        return len(others) == 1 and others[0].ready

    async def ask(self, number: int, page: Page) -> Any:
        """Ask a member for a page; return what it says."""
        self.members[number].app = site(page)
        self.browser.app = self.members[number]
        return (await self.browser.get()).json()

    def has(self, number: int, name: str, value: bytes) -> bool:
        """Tell whether a member has an attribute of the only session there is, at this moment."""
        local = self.members[number]._channel.member
        with local.lock:
            (record,) = local.node.store.records()
            return record.values().get(name) == value

    def stop(self) -> None:
        """End both."""
        for member in self.members:
            member._channel.stop_thread()


@pytest.fixture
def two() -> Iterator[Two]:
    """Two members that are not started yet."""
    both = Two()
    yield both
    both.stop()


async def test_a_commit_returns_when_all_members_hold_it(two: Two) -> None:
    await anyio.to_thread.run_sync(two.start, 0, 1)

    async def checkout(session: Session) -> object:
        session["order"] = 17
        await session.commit("all")
        return two.has(1, "order", b"\x11")

    assert await two.ask(0, checkout) is True


async def test_a_plain_function_in_a_thread_waits_too(two: Two) -> None:
    await anyio.to_thread.run_sync(two.start, 0, 1)

    def view(session: Session) -> bool:
        session["order"] = 17
        session.commit_blocking("majority")
        return two.has(1, "order", b"\x11")

    async def page(session: Session) -> object:
        return await anyio.to_thread.run_sync(view, session)

    assert await two.ask(0, page) is True


async def test_a_browser_that_goes_to_any_member_sees_all_that_it_wrote(two: Two) -> None:
    await anyio.to_thread.run_sync(two.start, 0, 1)
    said = [await two.ask(number % 2, counter) for number in range(ROUNDS)]

    assert said == [[number, False] for number in range(1, ROUNDS + 1)]


async def test_many_browsers_at_once_do_not_wait_for_one_another(two: Two) -> None:
    await anyio.to_thread.run_sync(two.start, 0, 1)
    for member in two.members:
        member.app = site(counter)
    said: dict[int, list[Any]] = {}

    async def browse(number: int) -> None:
        browser = Browser(two.members[0])
        for turn in range(10):
            browser.app = two.members[(number + turn) % 2]
            said.setdefault(number, []).append((await browser.get()).json())

    async with anyio.create_task_group() as group:
        for number in range(10):
            group.start_soon(browse, number)

    expected = [[turn, False] for turn in range(1, 11)]
    assert said == dict.fromkeys(range(10), expected)


async def test_on_the_loop_of_the_application_it_is_the_same(two: Two) -> None:
    async def checkout(session: Session) -> object:
        session["order"] = 17
        await session.commit("all")
        return two.has(1, "order", b"\x11")

    async with lifespan(two.members[0]) as said:
        two.members[1]._channel.ensure_started()
        await anyio.to_thread.run_sync(two.until_met)
        assert await two.ask(0, checkout) is True
        assert [await two.ask(number % 2, counter) for number in range(4)] == [
            [number, False] for number in range(1, 5)
        ]
    assert said.error is None


async def test_when_the_other_has_left_an_application_is_told_so(two: Two) -> None:
    await anyio.to_thread.run_sync(two.start, 0, 1)
    await two.ask(0, counter)
    await anyio.to_thread.run_sync(two.members[1]._channel.stop_thread)
    await anyio.to_thread.run_sync(until, lambda: two.clusters[0].members == (), "it has left")

    async def checkout(session: Session) -> object:
        session["order"] = 17
        await session.commit("all")
        try:
            await session.commit("one")
        except ReplicationTimeout as error:
            return str(error)
        return None

    assert "write concern 'one': 0 of 1 other members hold the write" in await two.ask(0, checkout)
    assert two.has(0, "order", b"\x11")


async def test_a_server_that_comes_later_knows_what_was_written_before(two: Two) -> None:
    two.members[0]._channel.ensure_started()
    await anyio.to_thread.run_sync(until, lambda: two.clusters[0].is_ready, "the first is ready")
    await two.ask(0, counter)
    two.members[1]._channel.ensure_started()

    # At once: perhaps it has found nobody yet.
    assert await two.ask(1, counter) == [2, False]
