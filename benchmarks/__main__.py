"""
Run a benchmark::

    python -m benchmarks             cost of a request, in process
    python -m benchmarks members     lag, acknowledgement, detection, repair, state transfer
"""

from __future__ import annotations

import argparse
import asyncio

from benchmarks import in_process, members


def main() -> None:
    """Parse the arguments and print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "benchmark", nargs="?", choices=["in_process", "members"], default="in_process"
    )
    parser.add_argument("--rounds", type=int, default=25, help="interleaved rounds (default 25)")
    parser.add_argument("--requests", type=int, default=1600, help="requests a round (1600)")
    parser.add_argument("--loop", choices=["asyncio", "uvloop"], default="asyncio")
    parser.add_argument(
        "--writes", type=int, default=1000, help="writes of a row of members (1000)"
    )
    parser.add_argument("--sessions", type=int, nargs="*", default=[10_000, 100_000])
    arguments = parser.parse_args()
    if arguments.benchmark == "members":
        members.run(arguments.writes, 3, arguments.sessions)
        return
    work = in_process.run(arguments.rounds, arguments.requests)
    if arguments.loop == "uvloop":
        import uvloop

        uvloop.run(work)
    else:
        asyncio.run(work)


if __name__ == "__main__":
    main()
