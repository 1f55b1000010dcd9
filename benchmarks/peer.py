"""
A member in a process of its own that does what it is told, one line of JSON each way.

It sits on the channel, as the web rooms do, without HTTP: what is measured is the cluster.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import sys
import time
from collections.abc import Coroutine
from typing import Any

import cbor2

from replsession import Cluster
from replsession.channel.aio import Network
from replsession.channel.channel import Channel
from replsession.concern import Asked
from replsession.identity import Key
from replsession.membership.membership import Dial
from replsession.replication.intake import Intake
from replsession.session.change import Change
from replsession.session.delta import Delta
from replsession.session.expiry import SessionLimits, encoded_limits
from replsession.session.record import INTERVAL, SECRET

CONTEXT = "/"
MEASURED = "t"
"""Attribute that holds the time of its write; all processes of a host have one monotonic clock."""
LIMITS = encoded_limits(SessionLimits(None, None))


def key_of(number: int) -> Key:
    """Return the key of a session; keys are spread over the buckets as random ones are."""
    return Key(
        CONTEXT, ((number * 2654435761) % 2**32).to_bytes(4, "big") + number.to_bytes(8, "big")
    )


class Peer:
    """One member and its commands; each is a method that returns what is printed."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.lags_us: list[float] = []
        take, lags_us = Intake.take, self.lags_us

        def timed(self: Intake, delta: Delta, *rest: Any, **named: Any) -> bool:
            taken = take(self, delta, *rest, **named)
            write = delta.attributes.get(MEASURED)
            if write is not None and write.value is not None and delta.since:
                lags_us.append((time.monotonic() - cbor2.loads(write.value)) * 1e6)
            return taken

        Intake.take = timed  # type: ignore[method-assign]

    async def status(self) -> Any:
        """Who is up, and whether this member is ready."""
        return {
            "ready": self.channel.is_ready,
            "members": len(self.channel.member.node.membership.view),
        }

    async def fill(self, first: int, count: int) -> Any:
        """Begin sessions with three attributes of 60 characters and a counter."""
        for number in range(first, first + count):
            writes: dict[str, bytes | None] = {
                name: cbor2.dumps(secrets.token_hex(30)) for name in ("first", "second", "third")
            }
            writes |= {SECRET: secrets.token_bytes(16), INTERVAL: LIMITS, "n": cbor2.dumps(0)}
            self.channel.commit((Change(key_of(number), writes, birth=True),))
            if number % 200 == 0:
                await asyncio.sleep(0.001)
        return len(self.channel.member.node.store)

    async def change(self, first: int, count: int) -> Any:
        """Write one attribute of many sessions."""
        for number in range(first, first + count):
            self.channel.commit((Change(key_of(number), {"n": cbor2.dumps(secrets.token_hex(8))}),))
            if number % 200 == 0:
                await asyncio.sleep(0.001)

    async def write(self, count: int, pause_s: float, concern: str, loaded: int = 0) -> Any:
        """Write the time again and again; return how long each commit took, in microseconds."""
        took_us: list[float] = []
        for turn in range(count):
            for number in range(loaded):
                self.channel.commit((Change(key_of(1 + number), {"n": cbor2.dumps(turn)}),))
            began = time.monotonic()
            change = Change(key_of(0), {MEASURED: cbor2.dumps(began)})
            committed = self.channel.commit((change,), Asked(concern))  # type: ignore[arg-type]
            assert committed is not None
            if committed.waiter is not None:
                await committed.waiter.wait()
                assert committed.waiter.ticket.is_met
            took_us.append((time.monotonic() - began) * 1e6)
            await asyncio.sleep(pause_s)
        return took_us

    async def lags(self) -> Any:
        """Return and forget how long each write took to be visible here, in microseconds."""
        found = list(self.lags_us)
        self.lags_us.clear()
        return found

    async def digest(self) -> Any:
        """What tells whether two members hold the same."""
        member = self.channel.member
        with member.lock:
            return member.node.store.digests(time.monotonic())

    async def alone_at(self, within_s: float) -> Any:
        """Wait until nobody else is up, and return when that was seen."""
        end = time.monotonic() + within_s
        while len(self.channel.member.node.membership.view) and time.monotonic() < end:
            await asyncio.sleep(0.001)
        return time.monotonic()

    async def cut(self) -> Any:
        """Cut this member off: its links break, and none is made."""
        network = self.network
        self._dial = network._dial

        async def refused(order: Dial) -> None:
            with network.member.lock:
                network.member.node.dial_failed(order.dial, "cut off", time.monotonic())
            network.wake()

        network._dial = refused  # type: ignore[method-assign]
        for link in list(network._links.values()):
            link.abort()

    async def mend(self) -> Any:
        """Let this member dial again."""
        self.network._dial = self._dial  # type: ignore[method-assign]

    @property
    def network(self) -> Network:
        """The driver of this member."""
        assert self.channel._network is not None
        return self.channel._network


async def main() -> None:
    """Join the cluster of the environment and obey until standard input ends."""
    cluster = Cluster.local(member_name=os.environ["BENCHMARK_MEMBER"], redial_max_s=0.5)
    channel = cluster.attach(os.environ["BENCHMARK_SECRET"], required=True)
    channel.register(CONTEXT, None)
    peer = Peer(channel)
    began = time.monotonic()
    await channel.start()
    while not channel.is_ready:
        await asyncio.sleep(0.002)
    print(json.dumps({"ready_s": time.monotonic() - began}), flush=True)
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        asked = json.loads(line)
        work: Coroutine[Any, Any, Any] = getattr(peer, asked.pop("do"))(**asked)
        print(json.dumps(await work), flush=True)
    await channel.stop()


if __name__ == "__main__":
    asyncio.run(main())
