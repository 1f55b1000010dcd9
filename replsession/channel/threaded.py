"""A loop of its own: for applications without lifespan, with another loop, or with none."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable

from replsession.channel.native import NativeThread

STOP_TIMEOUT_S = 3.0
LOOK_S = 1.0


class LoopThread:
    """
    A daemon thread with an asyncio loop on which the member lives.

    Args:
        started: Runs on the new loop first; what it raises is raised by :meth:`start`.
        stopping: Runs on it last.
    """

    def __init__(
        self, started: Callable[[], Awaitable[None]], stopping: Callable[[], Awaitable[None]]
    ) -> None:
        self._started = started
        self._stopping = stopping
        self._is_up = threading.Event()
        self._error: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._end: asyncio.Event | None = None
        self._thread = NativeThread(self._run, "replsession")

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive

    def start(self) -> None:
        """Start, and return when ``started`` has ended."""
        self._thread.start()
        while not self._is_up.wait(LOOK_S):
            # Only with a time-out: gevent takes a wait for another thread alone for one for ever.
            continue
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """Run ``stopping`` and end the thread, within a bounded time; not on the thread itself."""
        if self._loop is not None and self._end is not None and self._thread.is_alive:
            self._loop.call_soon_threadsafe(self._end.set)
            self._thread.join(STOP_TIMEOUT_S)

    def _run(self) -> None:
        try:
            with asyncio.Runner() as runner:
                runner.run(self._main())
        except OSError as error:
            # Without files left for a loop, who waits for it would wait for ever.
            if self._is_up.is_set():
                raise
            self._error = error
        finally:
            self._is_up.set()

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._end = asyncio.Event()
        try:
            await self._started()
        except BaseException as error:  # noqa: BLE001 - raised again by start(), in its thread
            self._error = error
            return
        self._is_up.set()
        await self._end.wait()
        await self._stopping()
