"""
The simulator by hand::

    python -m tests.simulation --seed 7              the trace of one seed, and its verdict
    python -m tests.simulation --seeds 300           the first 300 seeds, and a summary
    python -m tests.simulation --seeds 500-899       others
    python -m tests.simulation --soak 3600           fresh seeds for an hour
    python -m tests.simulation --seed 7 --planted no_repair

A seed, a number of members and a version of the code are one story; nothing else matters.
"""

from __future__ import annotations

import argparse
import secrets
import sys
import time
from collections.abc import Iterator

from tests.simulation.planted import PLANTED, planted
from tests.simulation.ranges import Summary, endless, verdicts
from tests.simulation.run import CalmRun, Run, Verdict
from tests.simulation.swarm import calm, draw
from tests.simulation.trace import Trace


def arguments(argv: list[str]) -> argparse.Namespace:
    """Return what the command line says."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.simulation",
        description="A cluster in one thread, from one seed, with every fault.",
    )
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--seed", type=int, help="run one seed and print its trace")
    which.add_argument("--seeds", metavar="N, A-B", help="run many seeds and print a summary")
    which.add_argument("--soak", type=float, metavar="SECONDS", help="run fresh seeds for so long")
    parser.add_argument("--members", type=int, default=3, choices=range(2, 10), metavar="2..9")
    parser.add_argument("--processes", type=int, default=2, help="for many seeds")
    parser.add_argument("--planted", choices=PLANTED, metavar="BUG", help=", ".join(PLANTED))
    parser.add_argument("--calm", action="store_true", help="slow links, but no faults")
    parser.add_argument("--quiet", action="store_true", help="only the verdict and the hash")
    return parser.parse_args(argv)


def one(given: argparse.Namespace) -> bool:
    """Run one seed; return whether every promise held."""
    trace = Trace(None if given.quiet else print)
    decided = (calm if given.calm else draw)(given.seed, given.members)
    if not given.quiet:
        print(decided)
    with planted(given.planted):
        verdict = (CalmRun if given.calm else Run)(decided, trace).run()
    print(verdict)
    print("trace", verdict.trace_hash)
    return verdict.failure is None


def many(given: argparse.Namespace) -> bool:
    """Run many seeds; return whether every promise held in all of them."""
    first, _, last = given.seeds.rpartition("-")
    seeds = range(int(first), int(last) + 1) if first else range(int(last))
    found = verdicts(seeds, given.members, given.processes, given.planted, given.calm)
    return report(found, given, float("inf"))


def soak(given: argparse.Namespace) -> bool:
    """Run seeds that nobody has run for so many seconds; return whether every promise held."""
    first = secrets.randbelow(2**40) * 1000
    found = endless(first, given.members, given.processes, given.planted, given.calm)
    return report(found, given, given.soak)


def report(found_all: Iterator[Verdict], given: argparse.Namespace, seconds: float) -> bool:
    """Print the verdicts of seeds that fail, and what all came to, for so long at most."""
    began = time.monotonic()
    runs: list[Verdict] = []
    for verdict in found_all:
        runs.append(verdict)
        if verdict.failure is not None:
            print(verdict, flush=True)
        if time.monotonic() - began >= seconds:
            break
    print(f"seeds {runs[0].seed} to {runs[-1].seed}, {given.members} members")
    found = Summary(tuple(runs))
    print(found)
    print(f"{time.monotonic() - began:.0f} s on {given.processes} processes")
    return not found.failing


def main(argv: list[str]) -> int:
    """Return 0 if every promise held."""
    given = arguments(argv)
    if given.seed is not None:
        return 0 if one(given) else 1
    return 0 if (many(given) if given.seeds is not None else soak(given)) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
