"""
Waiting: one room with three doors, for asyncio, for trio, and for threads.

The node says when a request need not wait any more; whoever drives it calls :meth:`Waiter.finish`,
from its own thread. The node keeps the time, too: the bound here only ends a wait whose driver
died.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable
from typing import Any

from replsession.channel.native import new_lock
from replsession.replication.acks import Ticket
from replsession.replication.freshness import Lookup
from replsession.replication.waits import Waiting

BOUND_S = 65.0
"""Above every time-out that the node keeps."""


def is_asyncio_here() -> bool:
    """Tell whether an asyncio loop runs in this thread."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def is_loop_here() -> bool:
    """Tell whether this thread runs a loop, which must not be blocked."""
    trio = sys.modules.get("trio")
    return is_asyncio_here() or (trio is not None and bool(trio.lowlevel.in_trio_run()))


class Waiter:
    """
    One request that waits.

    Args:
        waiting: What the node hands out as done.
    """

    __slots__ = ("_call", "_is_over", "_lock", "waiting")

    def __init__(self, waiting: Waiting) -> None:
        self.waiting = waiting
        self._lock = new_lock()
        self._is_over = waiting.is_done
        self._call: Callable[[], object] | None = None

    @property
    def ticket(self) -> Ticket:
        """What was waited for, if it were acknowledgements."""
        assert isinstance(self.waiting, Ticket)
        return self.waiting

    @property
    def lookup(self) -> Lookup:
        """What was waited for, if it was fresh state."""
        assert isinstance(self.waiting, Lookup)
        return self.waiting

    @property
    def is_over(self) -> bool:
        """Whether there is nothing to wait for."""
        return self._is_over

    def finish(self) -> None:
        """End the wait; from any thread, any number of times."""
        with self._lock:
            self._is_over = True
            call, self._call = self._call, None
        if call is not None:
            call()

    async def wait(self) -> None:
        """Wait on the running loop, asyncio or trio."""
        if self._is_over:
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            await self._wait_on_trio()
            return
        future: asyncio.Future[None] = loop.create_future()
        thread = threading.get_ident()

        def tell() -> None:
            if threading.get_ident() == thread:
                _set(future)
            else:
                try:
                    loop.call_soon_threadsafe(_set, future)
                except RuntimeError:
                    # Closed, with whoever waited there.
                    return

        if self._enter(tell):
            await asyncio.wait((future,), timeout=BOUND_S)

    async def _wait_on_trio(self) -> None:
        import trio

        event = trio.Event()
        token = trio.lowlevel.current_trio_token()

        def tell() -> None:
            try:
                token.run_sync_soon(event.set)
            except trio.RunFinishedError:
                # Who waited is gone with its loop.
                return

        if self._enter(tell):
            with trio.move_on_after(BOUND_S):
                await event.wait()

    def wait_blocking(self) -> None:
        """Wait in this thread, which must run no loop."""
        event = threading.Event()
        if not self._is_over and self._enter(event.set):
            event.wait(BOUND_S)

    def _enter(self, call: Callable[[], Any]) -> bool:
        with self._lock:
            if not self._is_over:
                self._call = call
            return not self._is_over


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
