"""
How a member leaves with its process: with a goodbye, and not before somebody else has the state.

A process ends in one of two ways that Python tells us of: with ``atexit``, or, if
``multiprocessing`` forked it, with the finalizers of that. A signal that nobody handles is no end
but a crash.
"""

from __future__ import annotations

import asyncio
import atexit
import sys
import time
import weakref
from typing import Protocol

from replsession.channel.member import LocalMember

HANDOVER_S = 1.5
"""How long a member stays because others are joining and nobody but itself has the state: with
``LINGER_S`` of the driver less than ``STOP_TIMEOUT_S`` of the thread. Servers that replace their
workers end the old ones when the new ones listen, which is before those have their state."""
POLL_S = 0.01


class Leaving(Protocol):
    """Who is told that the process ends."""

    def stop_thread(self) -> None:
        """Leave with a goodbye."""


async def hand_over(member: LocalMember) -> None:
    """Wait, for a bounded time, while this member is the only one from which others can join."""
    deadline = time.monotonic() + HANDOVER_S
    while _is_needed(member) and time.monotonic() < deadline:
        await asyncio.sleep(POLL_S)


def _is_needed(member: LocalMember) -> bool:
    with member.lock:
        node = member.node
        others = list(node.membership.view.reachable())
        return node.is_ready and bool(others) and not any(other.ready for other in others)


def stop_at_exit(leaving: Leaving) -> None:
    """Let it leave at the end of the process that registers it, or of a child that forks."""
    _LEAVING.add(leaving)


def stop_with_child() -> None:
    """Do so in a child of multiprocessing, too; called in the process that has started a member."""
    util = sys.modules.get("multiprocessing.util")
    if util is not None:
        util.Finalize(None, _stop_all, exitpriority=0)


_LEAVING: weakref.WeakSet[Leaving] = weakref.WeakSet()


@atexit.register
def _stop_all() -> None:
    for leaving in list(_LEAVING):
        leaving.stop_thread()
