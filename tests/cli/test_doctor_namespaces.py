"""
Every cause that the doctor names is made to happen, on two hosts with a real member on one of them.

The hosts are network namespaces. Each test breaks exactly one thing, reads the diagnosis from the
JSON, and mends it again; the member on the right runs through all of it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.cluster import bridge, namespaces
from tests.cluster.bridge import network
from tests.cluster.namespaces import Namespace, wire
from tests.cluster.processes import ROOT, Processes, Server, random_secret

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(120)]

GROUP = "228.0.0.4"
SECONDS = 2
CODE = (
    "import sys; sys.path.insert(0, sys.argv.pop(1)); from replsession.cli import main; "
    "sys.exit(main(sys.argv[1:]))"
)
HOLD_PORT = """
import socket, sys
kind, host, port = sys.argv[1:]
sock = socket.socket(type=getattr(socket, kind))
sock.bind((host, int(port)))
kind == "SOCK_STREAM" and sock.listen()
print("held", flush=True)
input()
"""
QUERY = """
import socket, sys
sock = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_IGMP)
sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(sys.argv[1]))
sock.sendto(bytes.fromhex("1101ec81 00000000 027d0000"), ("224.0.0.1", 0))
"""
"""
One IGMPv3 general query, to be answered within 0.1 s (RFC 3376, 4.1). After one of version 2 hosts
would repeat what they report up to ten seconds later.
"""


@dataclass(frozen=True)
class Told:
    """What a doctor said."""

    exit_code: int
    told: dict[str, Any]

    @property
    def causes(self) -> list[str]:
        """Ids of what was found, but for notes."""
        return [f["cause"] for f in self.told["findings"] if f["severity"] != "note"]

    def finding(self, cause: str) -> dict[str, Any]:
        """Return the one finding of a cause."""
        (found,) = [f for f in self.told["findings"] if f["cause"] == cause]
        return dict(found)


@dataclass(frozen=True)
class Scene:
    """Two hosts, and a member of the cluster ``shop`` on the right one."""

    left: Namespace
    right: Namespace
    secret: Path
    server: Server
    processes: Processes

    def doctor(
        self,
        *words: str,
        on: Namespace | None = None,
        name: str = "shop",
        secret: Path | None = None,
        seconds: int = SECONDS,
    ) -> Told:
        """Run the doctor, on the left unless said otherwise."""
        command = [*(on or self.left).prefix, sys.executable, "-c", CODE, str(ROOT), "doctor"]
        command += ["--name", name, "--secret-file", str(secret or self.secret), "--json"]
        command += ["--seconds", str(seconds), *words]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert ended.returncode in (0, 1), ended.stderr
        return Told(ended.returncode, json.loads(ended.stdout))

    @contextmanager
    def held(self, host: Namespace, kind: str, address: str, port: int) -> Iterator[None]:
        """Let another program have a port, in a block."""
        words = ("-c", HOLD_PORT, kind, address, str(port))
        program = self.processes.python(*words, name="program", prefix=host.prefix)
        program.output.wait_for("held")
        try:
            yield
        finally:
            program.close_input()
            program.wait()


@contextmanager
def rule(host: Namespace, *words: str) -> Iterator[None]:
    """Set a rule of a host's firewall, in a block."""
    host.run("iptables", "-A", *words)
    try:
        yield
    finally:
        host.run("iptables", "-D", *words)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """Make the two hosts, and wait for the member."""
    reason = namespaces.why_not() or namespaces.why_no_loss()
    if reason is not None:
        pytest.skip(reason)
    secret = tmp_path_factory.mktemp("secret") / "secret.txt"
    secret.write_text(random_secret() + "\n")
    with wire() as (left, right), Processes() as processes:
        yield Scene(left, right, secret, member(right, secret, processes), processes)


def member(host: Namespace, secret: Path, processes: Processes) -> Server:
    """Start a member on a host, and wait until it is ready."""
    server = processes.uvicorn(
        "demo_app.asgi:app",
        port=8080,
        name="member",
        prefix=host.prefix,
        environment={
            "REPLSESSION_SECRET": secret.read_text().strip(),
            "REPLSESSION_CLUSTER": "lan:shop",
        },
    )
    server.output.wait_for("Member is ready$")
    return server


def test_all_is_well_and_the_member_hears_of_nothing(scene: Scene) -> None:
    mark = scene.server.output.mark()
    told = scene.doctor()
    assert (told.exit_code, told.causes) == (0, [])
    facts = told.told["facts"]
    assert facts["heard_itself"] == facts["sent"] > 1
    (heard,) = facts["heard"]
    assert (heard["host"], heard["kind"], heard["receivers"]) == ("10.77.0.2", "ours", [4000])
    assert heard["datagrams"] >= 2
    (peer,) = facts["peers"]
    assert (peer["answer"], peer["speaks"]) == ("open", "ours")
    assert scene.server.output.lines[mark:] == []


def test_no_secret_is_told(scene: Scene) -> None:
    assert scene.secret.read_text().strip() not in json.dumps(scene.doctor().told)


def test_nobody_is_there(scene: Scene) -> None:
    told = scene.doctor(on=scene.right, name="shop")
    assert (told.exit_code, told.causes) == (1, ["nobody-heard"])


@contextmanager
def link_down(scene: Scene) -> Iterator[None]:
    scene.left.down()
    try:
        yield
    finally:
        scene.left.up()


@contextmanager
def multicast_off(scene: Scene) -> Iterator[None]:
    scene.left.run("ip", "link", "set", "eth0", "multicast", "off")
    try:
        yield
    finally:
        scene.left.run("ip", "link", "set", "eth0", "multicast", "on")


@contextmanager
def two_networks_and_no_route(scene: Scene) -> Iterator[None]:
    run = scene.left.run
    run("ip", "link", "add", "eth1", "type", "veth", "peer", "eth2")
    run("ip", "addr", "add", "10.88.0.1/24", "dev", "eth1")
    run("ip", "link", "set", "eth1", "up")
    try:
        yield
    finally:
        run("ip", "link", "del", "eth1")


@contextmanager
def route_to_loopback(scene: Scene) -> Iterator[None]:
    scene.left.run("ip", "route", "add", f"{GROUP}/32", "dev", "lo", "src", "127.0.0.1")
    try:
        yield
    finally:
        scene.left.run("ip", "route", "flush", f"{GROUP}/32")


def sending_forbidden(scene: Scene) -> AbstractContextManager[None]:
    return rule(scene.left, "OUTPUT", "-p", "udp", "-j", "DROP")


def nothing_let_in(scene: Scene) -> AbstractContextManager[None]:
    return rule(scene.left, "INPUT", "-p", "udp", "-j", "DROP")


def the_other_not_let_in(scene: Scene) -> AbstractContextManager[None]:
    return rule(scene.left, "INPUT", "-s", "10.77.0.2", "-p", "udp", "-j", "DROP")


def connections_dropped(scene: Scene) -> AbstractContextManager[None]:
    return rule(scene.right, "INPUT", "-p", "tcp", "--dport", "4000", "-j", "DROP")


def connections_rejected(scene: Scene) -> AbstractContextManager[None]:
    return rule(scene.right, "INPUT", "-p", "tcp", "--dport", "4000", "-j", "REJECT")


def group_port_held(scene: Scene) -> AbstractContextManager[None]:
    return scene.held(scene.left, "SOCK_DGRAM", "0.0.0.0", 45564)


Break = Callable[[Scene], AbstractContextManager[None]]


@pytest.mark.parametrize(
    ("broken", "cause", "mend", "undo"),
    [
        (link_down, "interface-down", "ip link set eth0 up", "ip link set eth0 down"),
        (
            multicast_off,
            "multicast-off",
            "ip link set eth0 multicast on",
            "ip link set eth0 multicast off",
        ),
        (
            two_networks_and_no_route,
            "no-multicast-route",
            "ip route replace 228.0.0.4/32 dev eth0",
            "ip route del 228.0.0.4/32 dev eth0",
        ),
        (
            route_to_loopback,
            "loopback-route",
            "ip route replace 228.0.0.4/32 dev eth0",
            "ip route del 228.0.0.4/32 dev eth0",
        ),
        (
            sending_forbidden,
            "firewall-out",
            "iptables -I OUTPUT -p udp -d 228.0.0.4 --dport 45564 -j ACCEPT",
            "iptables -D OUTPUT -p udp -d 228.0.0.4 --dport 45564 -j ACCEPT",
        ),
        (
            nothing_let_in,
            "firewall-in",
            "iptables -I INPUT -p udp -d 228.0.0.4 --dport 45564 -j ACCEPT",
            "iptables -D INPUT -p udp -d 228.0.0.4 --dport 45564 -j ACCEPT",
        ),
        (
            the_other_not_let_in,
            "firewall-in",
            "iptables -I INPUT -p udp -d 228.0.0.4 --dport 45564 -j ACCEPT",
            "iptables -D INPUT -p udp -d 228.0.0.4 --dport 45564 -j ACCEPT",
        ),
    ],
)
def test_a_cause_on_this_host_is_found_and_its_command_mends_it(
    scene: Scene, broken: Break, cause: str, mend: str, undo: str
) -> None:
    with broken(scene):
        told = scene.doctor()
        assert (told.exit_code, told.causes) == (1, [cause])
        finding = told.finding(cause)
        assert (finding["mend"][0], finding["undo"][0]) == (mend, undo)

        # The command is carried out as it was printed, and then its undoing.
        scene.left.run(*mend.split())
        mended = scene.doctor()
        scene.left.run(*undo.split())
        assert cause not in mended.causes
        assert mended.told["facts"]["heard"], "the member is heard again"


@pytest.mark.parametrize(
    ("broken", "cause"),
    [(connections_dropped, "tcp-silent"), (connections_rejected, "tcp-refused")],
)
def test_a_firewall_on_the_other_host_is_found(scene: Scene, broken: Break, cause: str) -> None:
    with broken(scene):
        told = scene.doctor()
        assert (told.exit_code, told.causes) == (1, [cause])
        mend = told.finding(cause)["mend"][0].removeprefix("on 10.77.0.2: ").split()
        scene.right.run(*mend)
        mended = scene.doctor()
        scene.right.run(*told.finding(cause)["undo"][0].removeprefix("on 10.77.0.2: ").split())
    assert mended.causes == []


def test_an_address_whose_link_is_down_was_asked_for(scene: Scene) -> None:
    with link_down(scene):
        for bind in ("10.77.0.1", "eth0"):
            assert scene.doctor("--bind", bind).causes == ["interface-down"]


def test_an_address_that_is_not_here(scene: Scene) -> None:
    assert scene.doctor("--bind", "10.77.0.9").causes[0] == "address-not-here"


def test_a_loopback_address_was_asked_for(scene: Scene) -> None:
    assert scene.doctor("--bind", "127.0.0.1").causes == ["loopback-address"]


def test_the_group_port_belongs_to_another_program(scene: Scene) -> None:
    with group_port_held(scene):
        assert scene.doctor().causes == ["group-port-taken"]


def test_the_receiver_port_belongs_to_another_program(scene: Scene) -> None:
    with scene.held(scene.left, "SOCK_STREAM", "10.77.0.1", 4000):
        told = scene.doctor("--auto-bind", "1")
        assert told.causes == ["receiver-port-taken"]
        assert told.finding("receiver-port-taken")["mend"][0] == "port=4001 (REPLSESSION_PORT=4001)"
        # With more ports to try there is nothing to say, and nothing with the one it names.
        assert scene.doctor().causes == []
        assert scene.doctor("--auto-bind", "1", "--port", "4001").causes == []


def test_the_receiver_port_belongs_to_a_member(scene: Scene) -> None:
    told = scene.doctor("--auto-bind", "1", on=scene.right)
    assert told.causes == ["nobody-heard"]
    assert told.finding("member-here")["severity"] == "note"


def test_another_secret(scene: Scene, tmp_path: Path) -> None:
    other = tmp_path / "other.txt"
    other.write_text(random_secret())
    told = scene.doctor(secret=other)
    assert (told.exit_code, told.causes) == (1, ["other-secret"])
    sentence = told.finding("other-secret")["sentence"]
    facts = told.told["facts"]
    assert "10.77.0.2" in sentence
    assert facts["key_id"] in sentence and facts["heard"][0]["key_id"] in sentence


def test_another_name(scene: Scene) -> None:
    told = scene.doctor(name="Shop")
    assert told.causes == ["other-name"]
    assert told.finding("other-name")["sentence"].endswith("our name in small letters")


def test_multicast_is_lost_between_and_a_seed_would_do(scene: Scene) -> None:
    with rule(scene.right, "OUTPUT", "-p", "udp", "-j", "DROP"):
        assert scene.doctor().causes == ["nobody-heard"]
        told = scene.doctor("--peer", "10.77.0.2:4000")
    assert told.causes == ["multicast-lost"]
    assert 'seeds=("10.77.0.2:4000",)' in told.finding("multicast-lost")["mend"][0]


def test_a_peer_in_another_network(scene: Scene) -> None:
    told = scene.doctor("--peer", "10.99.0.1:4000")
    assert told.causes == ["no-route"]


def test_a_host_of_another_network_on_the_same_wire(scene: Scene, tmp_path: Path) -> None:
    with wire() as (left, right), Processes() as processes:
        right.run("ip", "addr", "replace", "10.99.0.2/24", "dev", "eth0")
        right.run("ip", "addr", "del", "10.77.0.2/24", "dev", "eth0")
        server = member(right, scene.secret, processes)
        other = Scene(left, right, scene.secret, server, processes)
        settings = ["net.ipv4.conf.all.rp_filter", "net.ipv4.conf.eth0.rp_filter"]
        causes = {}
        for strict in (0, 1):
            values = [f"{name}={strict}" for name in settings]
            left.run("sysctl", "-q", "-w", *values)
            told = other.doctor()
            causes[strict] = told.causes
    assert causes == {0: ["no-route"], 1: ["no-way-back"]}
    assert told.finding("no-way-back")["mend"][0] == "ip route add 10.99.0.2/32 dev eth0"


def test_one_direction_only(scene: Scene) -> None:
    words = ["doctor", "--name", "shop", "--secret-file", str(scene.secret), "--seconds", "20"]
    with rule(scene.right, "INPUT", "-s", "10.77.0.1", "-p", "udp", "-j", "DROP"):
        other = scene.processes.python(
            "-c", CODE, str(ROOT), *words, name="doctor", prefix=scene.right.prefix
        )
        told = scene.doctor(seconds=10)
        other.wait()
    assert told.causes == ["one-way"]
    assert told.finding("one-way")["mend"][0].startswith("on 10.77.0.2: iptables -I INPUT ")


def test_heard_at_first_and_then_no_more(scene: Scene) -> None:
    to_group = ("OUTPUT", "-p", "udp", "-d", GROUP)
    # Twelve seconds of heartbeats are let out: more than it takes the doctor to start.
    quota = ("-m", "quota", "--quota", "1800", "-j", "ACCEPT")
    scene.right.run("iptables", "-A", *to_group, *quota)
    try:
        with rule(scene.right, *to_group, "-j", "DROP"):
            told = scene.doctor(seconds=18)
    finally:
        scene.right.run("iptables", "-F", "OUTPUT")
    assert told.causes == ["multicast-stopped"]
    assert told.told["facts"]["rejoined_hears"] == []


def test_a_switch_that_snoops_and_nobody_asks(tmp_path: Path) -> None:
    reason = bridge.why_not()
    if reason is not None:
        pytest.skip(reason)
    secret = tmp_path / "secret.txt"
    secret.write_text(random_secret())
    with network(2) as net, Processes() as processes:
        left, right = net.hosts
        server = member(right, secret, processes)
        scene = Scene(left, right, secret, server, processes)
        switch = ("ip", "-n", net.switch, "link", "set", bridge.BRIDGE, "type", "bridge")
        namespaces.run(*switch, "mcast_snooping", "1", "mcast_membership_interval", "300")
        # One question makes the switch believe that somebody asks; then nobody does.
        net.client.run(sys.executable, "-c", QUERY, net.client.address)
        told = scene.doctor(seconds=16)
    assert told.causes == ["snooping-without-querier"]
    assert told.told["facts"]["rejoined_hears"] == ["10.77.0.2"]
