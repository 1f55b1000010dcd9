"""Threads and locks of the system: plain ones, and, in a process of its own, beside gevent."""

from __future__ import annotations

import json
import subprocess
import sys
import threading

from replsession.channel.native import NativeThread, new_lock
from tests.cluster.processes import ROOT

BESIDE_GEVENT = """
from gevent import monkey; monkey.patch_all()
import asyncio, json, threading
import gevent
from replsession.channel.native import NativeThread, new_lock
from replsession.channel.threaded import LoopThread
from replsession.channel.waiting import is_loop_here

native_ident = monkey.get_original("_thread", "get_ident")
seen = {}

async def started():
    await asyncio.sleep(0.01)
    seen["loop on another thread"] = native_ident() != here

async def stopping():
    seen["stopped"] = True

here = native_ident()
thread = LoopThread(started, stopping)
thread.start()
seen["alive"] = thread.is_alive
seen["loop here"] = is_loop_here()
seen["own work"] = asyncio.run(asyncio.sleep(0, "ran"))
counted = []
other = gevent.spawn(lambda: [counted.append(gevent.sleep(0.001)) for _ in range(5)])
event = threading.Event()
waker = NativeThread(lambda: (gevent.sleep(0.05), event.set()), "waker")
waker.start()
seen["woken"] = event.wait(20)
seen["others went on"] = len(counted)
waker.join(20)
seen["waker alive"] = waker.is_alive
seen["lock of the system"] = type(new_lock()).__module__
thread.stop()
seen["alive at last"] = thread.is_alive
print(json.dumps(seen))
"""


def test_a_thread_is_a_daemon_with_a_name_that_can_be_waited_for() -> None:
    may_end = threading.Event()
    seen: list[tuple[str, bool]] = []

    def run() -> None:
        me = threading.current_thread()
        seen.append((me.name, me.daemon))
        may_end.wait(20)

    thread = NativeThread(run, "some name")
    assert not thread.is_alive
    thread.join(0)

    thread.start()

    assert thread.is_alive
    may_end.set()
    thread.join(20)
    assert not thread.is_alive
    assert seen == [("some name", True)]


def test_a_lock_is_a_lock() -> None:
    lock = new_lock()
    with lock:
        assert not lock.acquire(blocking=False)
    assert lock.acquire(blocking=False)


def test_beside_gevent_the_loop_has_a_thread_of_the_system() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", BESIDE_GEVENT],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout) == {
        "loop on another thread": True,
        "alive": True,
        "loop here": False,
        "own work": "ran",
        "woken": True,
        "others went on": 5,
        "waker alive": False,
        "lock of the system": "_thread",
        "stopped": True,
        "alive at last": False,
    }
