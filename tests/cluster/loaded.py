"""
A cluster under load: real servers on the hosts of a bridge, browsers beside them, and the verdict.

::

    with LoadedCluster.made(3) as cluster:
        one, two, three = cluster.members
        with cluster.load() as load:
            load.wait_answers(300)
            with cluster.network.cut(one.host, two.host):
                load.wait_answers(300)
        cluster.check(load)              all agree, and no promise was broken

Everything a test waits for is an event: a line in a log, an answer, so many requests. What it took
is printed.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.cluster.bridge import Network, network
from tests.cluster.figures import summary
from tests.cluster.guarantees import fresh, known, monotonic
from tests.cluster.history import (
    CHECKERS,
    Held,
    History,
    Operation,
    agreed,
    check,
)
from tests.cluster.members import PORT, Member
from tests.cluster.processes import Process, Processes, random_secret, wait_until

AGREE_S = 60.0
"""Bound on the time until all members hold the same: ten rounds of repair, and more."""
POLL_S = 0.1
BROWSERS = 8
PAUSE_S = 0.015
"""Of a browser between two requests, on average: two cores are busy, but not overrun."""
SHOWN_MAX = 20
STAMP_S = 0.001
"""Stamps count milliseconds: of two writes within one, either may be the newer one."""
BALANCER = "balancer"
"""Name of what stands before the members, for those who ask it."""
PROMISED = (*CHECKERS, fresh, known, monotonic)


class Runner:
    """The process with the browsers, on a host of its own."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._commands = 0
        process.output.wait_for("^runs$")

    def do(self, command: str, **arguments: Any) -> dict[str, Any]:
        """Give a command to ``load.py``; return its answer."""
        self._commands += 1
        number = self._commands
        line, output = rf"^answer {number} (.*)$", self._process.output
        mark = output.mark()
        self._process.type(json.dumps({"number": number, "do": command, **arguments}) + "\n")
        # Not by wait_for, which prints: some of this is asked many times a second.
        output.assert_in_order([line], after=mark)
        found: dict[str, Any] = json.loads(output.matches(line, after=mark)[0][1])
        return found


class Load:
    """Browsers at work, and afterwards what they did."""

    def __init__(self, runner: Runner, seed: int, browsers: int, **manner: Any) -> None:
        self._runner = runner
        self.started_at = time.monotonic()
        self.operations: list[Operation] = []
        runner.do("start", browsers=browsers, seed=seed, pause_s=PAUSE_S, **manner)

    def wait_answers(self, more: int, *members: Member) -> None:
        """
        Wait until so many more requests are answered: how long something lasts is told so.

        Args:
            more: Requests.
            members: Count only what these answer; none: all.
        """
        names = [member.name for member in members]
        wanted = self._answered(names) + more
        what = " ".join([f"{more} requests", *names])
        wait_until(lambda: self._answered(names) >= wanted, what, AGREE_S, POLL_S)

    def _answered(self, names: Sequence[str]) -> int:
        found: dict[str, int] = self._runner.do("count")["answered"]
        return sum(count for name, count in found.items() if not names or name in names)

    def stop(self) -> None:
        """Let each browser finish its request."""
        self._runner.do("stop")

    def finish(self, folder: Path) -> None:
        """Ask every member for every session, and take everything in."""
        self._runner.do("probe")
        file = folder / "history.jsonl"
        self._runner.do("write", file=str(file))
        lines = file.read_text().splitlines()
        self.operations = [Operation(**json.loads(line)) for line in lines]

    def between(self, since: float, until: float, *members: Member) -> list[Operation]:
        """Return the requests to these members that began in a time."""
        names = [member.name for member in members]
        return [o for o in self.operations if since <= o.start < until and o.member in names]

    def writes(self, since: float, until: float, *members: Member) -> int:
        """Return how many writes these members answered in a time."""
        asked = self.between(since, until, *members)
        return sum(operation.kind == "append" and operation.status == 200 for operation in asked)


class LoadedCluster:
    """
    Members of one cluster, and whom to ask about them.

    Args:
        net: The hosts.
        processes: Starts servers, and ends them.
        limits: Limits of the product that are to be others.
        folder: For histories.
        environment: More variables of the members.
        balancer: URL of what stands before them, seen from the browsers' host; none: nothing.
    """

    def __init__(
        self,
        net: Network,
        processes: Processes,
        limits: Mapping[str, int],
        folder: Path,
        environment: Mapping[str, str] | None = None,
        balancer: str = "",
    ) -> None:
        self.network = net
        self._folder = folder
        self._loads = 0
        self._wall_offsets_s: dict[float, None] = {}
        variables = {
            "REPLSESSION_SECRET": random_secret(),
            "REPLSESSION_CLUSTER": "lan:load",
            "LOAD_LIMITS": json.dumps(limits),
            **(environment or {}),
        }
        self.members = tuple(
            Member(f"member-{number}", host, processes, variables)
            for number, host in enumerate(net.hosts, start=1)
        )
        addresses = [f"{m.name}=http://{m.host.address}:{PORT}" for m in self.members]
        self._manner: dict[str, Any] = {}
        if balancer:
            addresses.append(f"{BALANCER}={balancer}")
            self._manner = {"through": [BALANCER]}
        for member in self.members:
            member.start()
        self.runner = Runner(
            processes.python(
                "-m", "tests.cluster.load", *addresses, name="browsers", prefix=net.client.prefix
            )
        )
        for member in self.members:
            member.wait_ready()
        self.settle()

    @classmethod
    @contextmanager
    def made(cls, members: int, **limits: int) -> Iterator[LoadedCluster]:
        """Make a cluster of so many members, ready and of one mind; end it with the block."""
        with (
            tempfile.TemporaryDirectory() as folder,
            network(members) as net,
            Processes() as processes,
        ):
            yield cls(net, processes, limits, Path(folder))

    @contextmanager
    def load(self, browsers: int = BROWSERS, **manner: Any) -> Iterator[Load]:
        """Let browsers loose until the end of the block; *manner* as ``start`` of ``load.py``."""
        self._loads += 1
        load = Load(self.runner, seed=self._loads, browsers=browsers, **self._manner, **manner)
        try:
            yield load
        finally:
            load.stop()

    def states(self, members: Sequence[Member] = ()) -> dict[str, dict[str, Any] | None]:
        """Return what members, all by default, say of themselves; None: no answer."""
        states = self._get("/state", members or self.members)
        for state in states.values():
            if state is not None:
                self._wall_offsets_s[state["wall_offset_s"]] = None
        return states

    def settle(self, timeout_s: float = AGREE_S) -> None:
        """Wait until all members see each other and hold the same."""
        self._wait(_agree, "all members see each other and hold the same", timeout_s)

    def wait_same(self) -> None:
        """Wait until all members hold the same, whether they see each other or not."""
        self._wait(_hold_the_same, "all members hold the same")

    def wait_linked(self, one: Member, other: Member, *, is_linked: bool) -> None:
        """Wait until a member has a link to another one, or has given it up."""

        def holds(states: Mapping[str, Any]) -> bool:
            state = states[one.name]
            return state is not None and (other.name in state["outboxes"]) is is_linked

        what = f"{one.name} {'has a' if is_linked else 'has no'} link to {other.name}"
        self._wait(holds, what)

    def _wait(
        self,
        condition: Callable[[Mapping[str, Any]], bool],
        what: str,
        timeout_s: float = AGREE_S,
    ) -> None:
        states: dict[str, Any] = {}

        def holds() -> bool:
            states.update(self.states())
            return condition(states)

        try:
            wait_until(holds, what, timeout_s, POLL_S)
        except AssertionError as error:
            shown = [str(violation) for violation in agreed(History((), copies=self._copies()))]
            del shown[SHOWN_MAX:]
            shown += [f"{name}: {state}" for name, state in states.items()]
            shown += [f"{member.name}: {member.server.output.shown()}" for member in self.members]
            raise AssertionError("\n".join([str(error), *shown])) from None

    def check(self, load: Load) -> History:
        """
        Wait until all members agree, and assert that no promise was broken.

        Returns:
            The history, for more questions.
        """
        self.settle()
        settled_at = time.monotonic()
        load.finish(self._folder)
        history = History(
            load.operations,
            stops=[stop for member in self.members for stop in member.stops],
            copies=self._copies(),
            settled_at=settled_at,
            skew_s=max(self._wall_offsets_s) - min(self._wall_offsets_s) + STAMP_S,
        )
        violations = check(history, PROMISED)
        print(summary(history))
        if violations:
            shown = "\n".join(str(violation) for violation in violations[:SHOWN_MAX])
            raise AssertionError(f"{len(violations)} violations:\n{shown}")
        return history

    def is_whole(self) -> bool:
        """Tell whether every member runs, and all agree: the next test may use the cluster."""
        if not all(member.server.is_running for member in self.members):
            return False
        try:
            self.settle(timeout_s=10.0)
        except AssertionError:
            return False
        return True

    def _get(self, path: str, members: Sequence[Member]) -> dict[str, Any]:
        return self.runner.do("get", path=path, members=[member.name for member in members])

    def _copies(self) -> dict[str, dict[str, Held]]:
        copies = self._get("/sessions", self.members)
        return {
            member: {session: Held(**held) for session, held in copy.items()}
            for member, copy in copies.items()
            if copy is not None
        }


def _agree(states: Mapping[str, Any]) -> bool:
    return _hold_the_same(states) and all(
        sorted([state["member"], *state["members"]]) == sorted(states) for state in states.values()
    )


def _hold_the_same(states: Mapping[str, Any]) -> bool:
    there = [state for state in states.values() if state is not None and state["ready"]]
    return (
        len(there) == len(states)
        and len({state["digest"] for state in there}) == 1
        and not any(state["partial"] for state in there)
        and not any(box["deltas"] for state in there for box in state["outboxes"].values())
    )
