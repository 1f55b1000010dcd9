"""
Where the doctor is tried: hosts of one's own, each with one thing broken, and a healthy member.

::

    @proves("interface-down")                     in cases_here.py and cases_others.py
    def link_down(patient: Patient) -> None:
        patient.left.down()
        patient.is_cured_of("interface-down")     found, mended as printed, undone, found again

1. Cases run at the same time, each in namespaces of its own, so that listening costs no time. On
   a ward's bridge the left hosts do not hear each other; they all hear the member on the right.
2. What a case claims to prove is compared with what its doctors said.
3. A case waits for events; only the doctor itself listens for some seconds.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.cli.doctor.forks import ENDED_S, Program, Start
from tests.cluster import bridge, namespaces
from tests.cluster.namespaces import Namespace
from tests.cluster.processes import ROOT

GROUP: Final = "228.0.0.4"
PORT: Final = 45564
SECONDS: Final = 2
"""How long a doctor listens where nothing has to happen meanwhile: four heartbeats."""
DOCTOR: Final = (
    "import sys; sys.path.insert(0, sys.argv.pop(1)); from replsession.cli import main; "
    "sys.exit(main(sys.argv[1:]))"
)
LATER: Final = "import time; real = time.time; time.time = lambda: real() + {}; "
"""Before a doctor: its wall clock is so many seconds ahead."""
MEMBER: Final = """
import logging, sys
sys.path.insert(0, sys.argv[1])
logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
from replsession import Cluster
cluster = Cluster.from_env()
cluster.start()
sys.stdin.read()
"""
LISTENER: Final = """
import socket, sys
group, port, address = sys.argv[1], int(sys.argv[2]), sys.argv[3]
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
sock.bind((group, port))
membership = socket.inet_aton(group) + socket.inet_aton(address)
sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
print("listens", flush=True)
while True:
    datagram, source = sock.recvfrom(2048)
    print(datagram[:4].decode("latin-1"), source[0], flush=True)
"""
"""A program that says of each datagram to the group what it is and whom it is from."""

Case = Callable[["Patient"], None]


@dataclass(frozen=True)
class Told:
    """What a doctor said."""

    exit_code: int
    told: dict[str, Any]

    @property
    def causes(self) -> list[str]:
        """Ids of what was found, but for notes."""
        return [f["cause"] for f in self.told["findings"] if f["severity"] != "note"]

    @property
    def notes(self) -> list[str]:
        """Ids of notes."""
        return [f["cause"] for f in self.told["findings"] if f["severity"] == "note"]

    def finding(self, cause: str) -> dict[str, Any]:
        """Return the one finding of a cause."""
        (found,) = [f for f in self.told["findings"] if f["cause"] == cause]
        return dict(found)


@dataclass
class Patient:
    """The host on the left, on which the doctor is run, and the one on the right, with a member."""

    left: Namespace
    right: Namespace
    secret: Path
    start: Start
    switch: tuple[str, str] | None = None
    """Namespace of the bridge, and name of its port to the left host."""
    ended: ExitStack = field(default_factory=ExitStack)
    said: set[str] = field(default_factory=set)
    """All that any doctor has found."""

    def set_port(self, *words: str) -> None:
        """Set something of the port of the bridge that the left host is plugged into."""
        assert self.switch is not None
        bridge_of, port = self.switch
        namespaces.run("ip", "-n", bridge_of, "link", "set", "dev", port, *words)

    @property
    def secret_text(self) -> str:
        """The cluster's secret."""
        return self.secret.read_text().strip()

    def doctor(
        self,
        *words: str,
        on: Namespace | None = None,
        before: Sequence[str] = (),
        secret: Path | None = None,
        name: str = "shop",
        seconds: int = SECONDS,
        environment: Mapping[str, str] | None = None,
    ) -> Told:
        """
        Run the doctor, on the left unless said otherwise.

        Args:
            words: Further options.
            on: The host.
            before: Words before the program.
            secret: Another file.
            name: Another cluster's.
            seconds: How long it listens.
            environment: Settings, which it is then asked to take (``--env``).
        """
        if environment is None:
            options = ["--name", name, "--secret-file", str(secret or self.secret), *words]
        else:
            options = ["--env", *words]
        whole = _words(options, seconds)
        if before:
            return self._as_users_do(before, whole, environment or {})
        program = self.start("doctor", DOCTOR, whole, on or self.left, environment or {})
        try:
            return self._read(program.wait(), program.printed)
        finally:
            program.end()

    def _as_users_do(
        self, before: Sequence[str], words: Sequence[str], settings: Mapping[str, str]
    ) -> Told:
        """Run the doctor as a program that is started by itself."""
        kept = {name: value for name, value in os.environ.items() if "REPLSESSION_" not in name}
        ended = subprocess.run(
            [*self.left.prefix, *before, sys.executable, "-c", DOCTOR, *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=ENDED_S,
            check=False,
            env={**kept, **settings},
        )
        return self._read(ended.returncode, ended.stdout)

    def doctor_in_the_background(self, *words: str, seconds: int) -> Callable[[], Told]:
        """Start the doctor on the left, and return what waits for its end."""
        program = self._started("doctor", DOCTOR, self._options(words, seconds), self.left)
        return lambda: self._read(program.wait(), program.printed)

    def _read(self, exit_code: int, text: str) -> Told:
        assert exit_code in (0, 1), text
        told = Told(exit_code, json.loads(text))
        self.said |= {finding["cause"] for finding in told.told["findings"]}
        assert bool(told.causes) == bool(told.exit_code)
        return told

    def doctor_beside(self, *words: str, on: Namespace, seconds: int, offset_s: int = 0) -> Program:
        """Start a doctor that goes on beside others; nobody reads what it finds."""
        code = LATER.format(offset_s) + DOCTOR
        return self._started("doctor", code, self._options(words, seconds), on)

    def member(self, on: Namespace, before: str = "", **environment: str) -> Program:
        """Start a member of the cluster, and wait until it is ready."""
        settings = self.settings(**environment)
        program = self._started("member", before + MEMBER, [str(ROOT)], on, settings)
        program.output.wait_for("Member is ready$")
        return program

    def python(self, code: str, *words: str, on: Namespace) -> Program:
        """Start another program."""
        return self._started("program", code, words, on)

    def listener(self, on: Namespace) -> Program:
        """Start a program that prints what it hears in the group, and wait until it does."""
        program = self.python(LISTENER, GROUP, str(PORT), on.address, on=on)
        program.output.wait_for("listens")
        return program

    def settings(self, **more: str) -> dict[str, str]:
        """Return variables of the environment that describe the cluster."""
        given = {"CLUSTER": "lan:shop", "SECRET": self.secret_text, **more}
        return {f"REPLSESSION_{name}": value for name, value in given.items()}

    def carry_out(self, line: str) -> None:
        """Run a command as it was printed, on the host that it names."""
        there = f"on {self.right.address}: "
        host = self.right if line.startswith(there) else self.left
        host.run(*line.removeprefix(there).split())

    def is_cured_of(self, cause: str, *words: str, **how: Any) -> Told:
        """Find a cause, mend it as printed, find nothing, undo that, and find it again."""
        told = self.doctor(*words, **how)
        assert told.causes == [cause]
        finding = told.finding(cause)
        self.carry_out(finding["mend"][0])
        assert self.doctor(*words, **how).causes == []
        for line in finding["undo"]:
            self.carry_out(line)
        assert self.doctor(*words, **how).causes == [cause]
        return told

    def is_set_right(self, cause: str, **settings: str) -> dict[str, str]:
        """Find a cause, take the setting that is printed, and find nothing; return the setting."""
        told = self.doctor(environment=self.settings(**settings))
        assert told.causes == [cause]
        printed = printed_settings(told.finding(cause))
        mended = {**settings, **printed}
        assert self.doctor(environment=self.settings(**mended)).causes == []
        return mended

    def _options(self, words: Sequence[str], seconds: int) -> list[str]:
        return _words(["--name", "shop", "--secret-file", str(self.secret), *words], seconds)

    def _started(
        self,
        name: str,
        code: str,
        words: Sequence[str],
        on: Namespace,
        settings: Mapping[str, str] | None = None,
    ) -> Program:
        program = self.start(name, code, words, on, settings or {})
        self.ended.callback(program.end)
        return program


def _words(options: Sequence[str], seconds: int) -> list[str]:
    return [str(ROOT), "doctor", *options, "--json", "--seconds", str(seconds)]


@dataclass(frozen=True)
class Proof:
    """A case, and what it makes the doctor find."""

    case: Case
    causes: tuple[str, ...]
    place: str
    """``ward``: on the common bridge; ``pair``: two hosts of its own, with a member; ``empty``:
    two hosts of its own, and nothing on them; ``none``: the case makes its own."""

    def __str__(self) -> str:
        return self.case.__name__


PROOFS: list[Proof] = []


def proves(*causes: str, place: str = "ward") -> Callable[[Case], Case]:
    """Note that a function makes the doctor find these causes, and where it is to be done."""

    def noted(case: Case) -> Case:
        PROOFS.append(Proof(case, causes, place))
        return case

    return noted


def printed_settings(finding: Mapping[str, Any]) -> dict[str, str]:
    """Return the variables in the first of a finding's lines that has some."""
    for line in finding["mend"]:
        if found := re.findall(r"\(REPLSESSION_(\w+)=(\S+)\)", line):
            return dict(found)
    raise AssertionError(f"no setting is printed: {finding['mend']}")


@contextmanager
def ward(beds: int, secret: Path, start: Start) -> Iterator[list[Patient]]:
    """Make so many left hosts that do not hear each other, and one right one with a member."""
    with bridge.network(beds + 1) as net, ExitStack() as ended:
        right, *left = net.hosts
        patients = [
            Patient(host, right, secret, start, (net.switch, f"port{number}"), ended)
            for number, host in enumerate(left, 2)
        ]
        for patient in patients:
            patient.set_port("type", "bridge_slave", "isolated", "on")
        patients[0].member(right)
        yield patients


@contextmanager
def pair(secret: Path, start: Start, *, has_member: bool) -> Iterator[Patient]:
    """Make two hosts on one wire."""
    with namespaces.wire() as (left, right), ExitStack() as ended:
        patient = Patient(left, right, secret, start, ended=ended)
        if has_member:
            patient.member(right)
        yield patient
