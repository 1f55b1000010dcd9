"""
The time between "asked to stop" and the server's stop, in which balancers learn of it.

A server that gets SIGTERM closes its port at once; whoever still sends requests there, since he
does not know yet, gets errors. With ``drain_s`` the member hears SIGTERM first: it says at its
readiness endpoint that it is leaving, goes on serving, and hands the signal on when the time is
over. A second SIGTERM is handed on at once.

1. A handler of signals may interrupt anything, so it only sets a flag and wakes the member's loop.
2. Python lets only the main thread set a handler: a member that starts elsewhere cannot drain.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from types import FrameType

from replsession.channel.log import CLUSTER

SIGNAL = signal.SIGTERM


class Draining:
    """
    Hears SIGTERM in place of the server, for a while.

    Args:
        drain_s: Seconds between the signal and its effect; 0: none, and nothing is changed.
    """

    def __init__(self, drain_s: float) -> None:
        self._drain_s = drain_s
        self._loop: asyncio.AbstractEventLoop | None = None
        self._server = signal.getsignal(SIGNAL)
        self.is_leaving = False
        """Whether the process was asked to stop."""

    def listen(self, loop: asyncio.AbstractEventLoop | None) -> None:
        """
        Hear the signal from now on; called when the server has set its own handler.

        Args:
            loop: The member's, which waits; None: it has none, since it did not start.
        """
        if loop is None or not self._drain_s:
            return
        if threading.current_thread() is not threading.main_thread():
            CLUSTER.warning(
                "drain_s has no effect: the member was not started by the main thread, which alone "
                "may hear signals. Start the server with a lifespan, or call cluster.start()."
            )
            return
        server = signal.getsignal(SIGNAL)
        if server in (None, signal.SIG_IGN, self._asked_to_stop):
            return
        self._server, self._loop = server, loop
        signal.signal(SIGNAL, self._asked_to_stop)

    def stop_listening(self) -> None:
        """Give the signal back to whoever had it, unless somebody else took it meanwhile."""
        if threading.current_thread() is threading.main_thread():
            if signal.getsignal(SIGNAL) == self._asked_to_stop:
                signal.signal(SIGNAL, self._server)

    def _asked_to_stop(self, number: int, frame: FrameType | None) -> None:
        if self.is_leaving or self._loop is None or self._loop.is_closed():
            self._hand_on(number, frame)
            return
        self.is_leaving = True
        self._loop.call_soon_threadsafe(self._wait, self._loop)

    def _wait(self, loop: asyncio.AbstractEventLoop) -> None:
        CLUSTER.info("Asked to stop: not ready any more, serving for %g s more", self._drain_s)
        loop.call_later(self._drain_s, os.kill, os.getpid(), SIGNAL)

    def _hand_on(self, number: int, frame: FrameType | None) -> None:
        if callable(self._server):
            self._server(number, frame)
            return
        signal.signal(SIGNAL, signal.SIG_DFL)
        os.kill(os.getpid(), number)
