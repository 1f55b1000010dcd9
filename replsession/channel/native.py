"""
Threads and locks of the system, also where gevent has put its own in their place.

In a process that gevent has patched, ``threading.Thread`` makes a greenlet: a loop that runs there
is the running loop of the very thread that serves all requests. Then everything that asks for the
running loop finds ours: our own waits would not wait, ``asyncio.run`` in a request would fail, and
so would each query of Django's ORM. So the loop gets a thread of the system even there, with a
hub of its own, and what both sides touch is guarded by a lock of the system, which is held for
moments and never while greenlets change.

What a request waits *with* stays patched: other greenlets go on meanwhile, and gevent lets a thread
wake up a greenlet of another one.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any


def new_lock() -> threading.Lock:
    """Return a lock that threads of the system may share; not to be held while waiting."""
    monkey = _patched("_thread")
    lock: threading.Lock = (
        threading.Lock() if monkey is None else monkey.get_original("_thread", "allocate_lock")()
    )
    return lock


class NativeThread:
    """
    A daemon thread of the system.

    Args:
        run: What it does.
        name: For people, where threads have names.
    """

    def __init__(self, run: Callable[[], None], name: str) -> None:
        self._run = run
        self._name = name
        self._thread: threading.Thread | None = None
        self._has_ended: threading.Event | None = None

    @property
    def is_alive(self) -> bool:
        """Whether it runs."""
        if self._has_ended is not None:
            return not self._has_ended.is_set()
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> None:
        """
        Start it.

        Raises:
            RuntimeError: the system has no thread left.
        """
        monkey = _patched("_thread")
        if monkey is None:
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()
            return
        import gevent

        # Two threads that make their first hubs at once import the same modules, and in a patched
        # process the import system's own locks can then wait for each other for ever.
        hub = gevent.get_hub()
        _ = hub.resolver, hub.threadpool
        has_ended = threading.Event()
        monkey.get_original("_thread", "start_new_thread")(self._run_beside_gevent, (has_ended,))
        self._has_ended = has_ended

    def join(self, timeout_s: float) -> None:
        """Wait for its end, at most so long; not on the thread itself."""
        if self._has_ended is not None:
            self._has_ended.wait(timeout_s)
        elif self._thread is not None:
            self._thread.join(timeout_s)

    def _run_beside_gevent(self, has_ended: threading.Event) -> None:
        import gevent

        try:
            self._run()
        finally:
            # This thread's own hub, which its loop selects with.
            gevent.get_hub().destroy(destroy_loop=True)
            has_ended.set()


def _patched(module: str) -> Any:
    """Return gevent's monkey if it has patched a module of the standard library, else None."""
    monkey = sys.modules.get("gevent.monkey")
    return monkey if monkey is not None and monkey.is_module_patched(module) else None
