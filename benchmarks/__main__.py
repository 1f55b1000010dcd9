"""Run a benchmark: ``python -m benchmarks [in_process] [--rounds N] [--requests N]``."""

from __future__ import annotations

import argparse
import asyncio

from benchmarks import in_process


def main() -> None:
    """Parse the arguments and print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("benchmark", nargs="?", choices=["in_process"], default="in_process")
    parser.add_argument("--rounds", type=int, default=25, help="interleaved rounds (default 25)")
    parser.add_argument("--requests", type=int, default=1600, help="requests a round (1600)")
    parser.add_argument("--loop", choices=["asyncio", "uvloop"], default="asyncio")
    arguments = parser.parse_args()
    work = in_process.run(arguments.rounds, arguments.requests)
    if arguments.loop == "uvloop":
        import uvloop

        uvloop.run(work)
    else:
        asyncio.run(work)


if __name__ == "__main__":
    main()
