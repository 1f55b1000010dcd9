"""A second member in a process of its own; lives until its standard input ends."""

from __future__ import annotations

import asyncio
import os
import sys

from replsession import Cluster
from replsession.channel.channel import Channel


async def main() -> None:
    """Join the cluster of the environment, say "ready", and wait."""
    cluster = Cluster.local(member_name="second")
    channel: Channel = cluster.attach(os.environ["BENCHMARK_SECRET"], required=True)
    channel.register("/", None)
    await channel.start()
    while not channel.is_ready:
        await asyncio.sleep(0.01)
    print("ready", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await channel.stop()


if __name__ == "__main__":
    asyncio.run(main())
