"""
Run a benchmark::

    python -m benchmarks             cost of a request, in process
    python -m benchmarks flask       the same under Flask, against its cookies and against Redis
    python -m benchmarks members     lag, acknowledgement, detection, repair, state transfer

"flask" compares with what is installed: pip install flask-session redis msgspec, and a
redis-server in PATH (Debian: apt-get install redis-server), which it starts for itself.
"""

from __future__ import annotations

import argparse
import asyncio

from benchmarks import in_flask, in_process, members


def main() -> None:
    """Parse the arguments and print the tables."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    kinds = ["in_process", "flask", "members"]
    parser.add_argument("benchmark", nargs="?", choices=kinds, default="in_process")
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
    if arguments.benchmark == "flask":
        in_flask.run(arguments.rounds, arguments.requests)
        return
    work = in_process.run(arguments.rounds, arguments.requests)
    if arguments.loop == "uvloop":
        import uvloop

        uvloop.run(work)
    else:
        asyncio.run(work)


if __name__ == "__main__":
    main()
