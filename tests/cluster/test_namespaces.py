"""
Two hosts that find each other by real multicast, each with the counter page on real uvicorn.

The hosts are network namespaces with a wire between them. So links, losses and cables that are
pulled are real, and nothing is configured but a secret and ``lan:NAME``.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from tests.cluster import namespaces
from tests.cluster.namespaces import (
    Answer,
    Namespace,
    add_interfaces,
    remove_interfaces,
    wire,
)
from tests.cluster.processes import Processes, Server, random_secret, wait_until

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240)]

PORT = 8080
"""Of the web server; each host has its own ports."""
GONE = r"Received member disappeared: tls://{}:4000 name={} .* \({}\)$"


class Host:
    """One host with one member, ``left`` or ``right``."""

    def __init__(
        self, name: str, namespace: Namespace, processes: Processes, environment: dict[str, str]
    ) -> None:
        self.name = name
        self.namespace = namespace
        self.address = namespace.address
        self._processes = processes
        self._environment = {**environment, "REPLSESSION_MEMBER_NAME": name}
        self._server: Server | None = None

    @property
    def server(self) -> Server:
        """Return the server that was started last."""
        assert self._server is not None
        return self._server

    def start(self, **environment: str) -> None:
        """Start the server, and do not wait for it."""
        self._server = self._processes.uvicorn(
            "demo_app.asgi:app",
            port=PORT,
            name=self.name,
            prefix=self.namespace.prefix,
            environment={**self._environment, **environment},
        )

    def wait_ready(self) -> None:
        """Wait until the member has its state."""
        self.server.output.wait_for("Member is ready$")
        wait_until(lambda: self.ask("/readyz").status == 200, f"{self.name} is ready")

    def ask(self, path: str, cookie: str = "", body: Any = None) -> Answer:
        """Ask the server from its own host."""
        return self.namespace.ask(path, PORT, cookie=cookie, body=body)

    def count(self, cookie: str) -> tuple[str, int]:
        """Count a visit; return who answered, and the counter."""
        told = self.ask("/session.json", cookie).json
        return told["member"], told["counter"]

    def set(self, cookie: str, **attributes: Any) -> None:
        """Set attributes of the session."""
        assert self.ask("/attributes", cookie, attributes).status == 200

    def attributes(self, cookie: str) -> dict[str, Any]:
        """Return the attributes, without a visit."""
        told: dict[str, Any] = self.ask("/attributes", cookie, {}).json["attributes"]
        return told

    def wait_gone(self, other: Host, reason: str) -> None:
        """Wait for the line that says that the other one has disappeared, and why."""
        address = other.address.replace(".", r"\.")
        self.server.output.wait_for(GONE.format(address, other.name, reason))


@pytest.fixture(scope="module", autouse=True)
def possible() -> None:
    """Skip where the system lets nobody make a network."""
    reason = namespaces.why_not()
    if reason is not None:
        pytest.skip(reason)


@pytest.fixture
def hosts() -> Iterator[tuple[Host, Host]]:
    """Two hosts of one cluster; nothing runs on them yet."""
    environment = {"REPLSESSION_SECRET": random_secret(), "REPLSESSION_CLUSTER": "lan:shop"}
    with wire() as (left, right), Processes() as processes:
        yield (
            Host("left", left, processes, environment),
            Host("right", right, processes, environment),
        )


@pytest.fixture
def meeting(hosts: tuple[Host, Host]) -> tuple[Host, Host]:
    """Two hosts whose members are ready and see each other."""
    left, right = hosts
    for host in hosts:
        host.start()
    for host, other in ((left, right), (right, left)):
        host.server.output.wait_for(f"Replication member added: tls://{other.address}:4000 ")
        host.wait_ready()
    return hosts


def new_session(host: Host) -> str:
    """Begin a session; return its cookie."""
    answer = host.ask("/session.json")
    assert (answer.status, answer.json["counter"]) == (200, 1)
    return answer.cookie


def shows(host: Host, cookie: str, expected: dict[str, Any]) -> bool:
    """Return whether a host shows exactly these attributes."""
    return host.attributes(cookie) == expected


def wait_same(hosts: tuple[Host, Host], cookie: str, expected: dict[str, Any]) -> None:
    """Wait until both hosts show exactly these attributes."""
    for host in hosts:
        wait_until(partial(shows, host, cookie, expected), f"all of it on {host.name}")


def test_members_meet_and_survive_the_loss_of_one(meeting: tuple[Host, Host]) -> None:
    left, right = meeting
    for host in meeting:
        host.server.output.assert_in_order(
            [
                rf"Receiver server socket bound to /{host.address}:4000$",
                r"Membership on multicast 228\.0\.0\.4:45564, ",
                rf"Register manager /examples to cluster with name {host.name}$",
            ]
        )
    cookie = new_session(left)
    wait_until(lambda: right.attributes(cookie) == {"counter": 1}, "the session on the right")
    assert right.count(cookie) == ("right", 2)
    wait_until(lambda: left.attributes(cookie) == {"counter": 2}, "the visit on the left")

    killed_at = time.monotonic()
    left.server.kill()
    right.wait_gone(left, "connection refused")
    print(f"a killed process was noticed after {time.monotonic() - killed_at:.3f} s")
    assert right.count(cookie) == ("right", 3)

    left.start()
    left.server.output.wait_for(r"Manager \[/examples\]: session state sent at .* \(1 sessions, ")
    left.wait_ready()
    assert left.count(cookie) == ("left", 4)
    wait_until(lambda: right.attributes(cookie) == {"counter": 4}, "the last visit on the right")
    left.server.stop()
    right.wait_gone(left, "said goodbye")


def test_a_wire_that_loses_a_tenth_loses_no_write(hosts: tuple[Host, Host]) -> None:
    reason = namespaces.why_no_loss()
    if reason is not None:
        pytest.skip(reason)
    left, right = hosts
    for host in hosts:
        host.namespace.lose(0.1)
        host.start()
    for host in hosts:
        host.server.output.wait_for("Replication member added: ")
        host.wait_ready()
    cookie = new_session(left)
    wait_until(lambda: right.attributes(cookie), "the session on the right")
    expected = {"counter": 1}
    for number in range(10):
        left.set(cookie, **{f"left {number}": number})
        right.set(cookie, **{f"right {number}": number})
        expected |= {f"left {number}": number, f"right {number}": number}

    wait_same(hosts, cookie, expected)


def pull_the_plug(left: Host, right: Host) -> Callable[[], None]:
    """Cut the wire; return what mends it."""
    left.namespace.down()
    return left.namespace.up


def take_the_interfaces(left: Host, right: Host) -> Callable[[], None]:
    """Take the interfaces away, as a driver or a container's network that restarts."""
    remove_interfaces(left.namespace)
    return partial(add_interfaces, left.namespace, right.namespace)


@pytest.mark.parametrize("cut", [pull_the_plug, take_the_interfaces])
def test_a_wire_that_was_cut_merges_both_halves(
    meeting: tuple[Host, Host], cut: Callable[[Host, Host], Callable[[], None]]
) -> None:
    left, right = meeting
    cookie = new_session(left)
    wait_until(lambda: right.attributes(cookie), "the session on the right")

    mend = cut(left, right)
    left.set(cookie, both="left", left=1)
    right.set(cookie, both="right", right=2)
    born_while_cut = new_session(right)
    left.wait_gone(right, ".*")
    right.wait_gone(left, ".*")
    left.set(cookie, late=3)
    marks = [host.server.output.mark() for host in meeting]
    mend()

    for host, mark in zip(meeting, marks, strict=True):
        host.server.output.wait_for("Replication member added: ", after=mark)
    merged = {"counter": 1, "both": "right", "left": 1, "right": 2, "late": 3}
    wait_same(meeting, cookie, merged)
    wait_same(meeting, born_while_cut, {"counter": 1})


def test_a_hung_process_is_gone_and_calls_nobody_gone(meeting: tuple[Host, Host]) -> None:
    left, right = meeting
    cookie = new_session(left)
    wait_until(lambda: right.attributes(cookie), "the session on the right")

    left.server.send_signal(signal.SIGSTOP)
    hung_at = time.monotonic()
    right.set(cookie, written="while it hung")
    right.wait_gone(left, r"silent for \d\.\d s")
    print(f"a hung process was noticed after {time.monotonic() - hung_at:.3f} s")
    mark = right.server.output.mark()
    left.server.send_signal(signal.SIGCONT)

    right.server.output.wait_for("Replication member added: ", after=mark)
    wait_same(meeting, cookie, {"counter": 1, "written": "while it hung"})
    assert not left.server.output.matches("Received member disappeared")


def test_a_host_that_gets_another_address_is_found_there(meeting: tuple[Host, Host]) -> None:
    left, right = meeting
    cookie = new_session(left)
    wait_until(lambda: right.attributes(cookie), "the session on the right")
    mark = left.server.output.mark()

    left.namespace.run("ip", "addr", "del", "10.77.0.1/24", "dev", "eth0")
    left.namespace.run("ip", "addr", "add", "10.77.0.3/24", "dev", "eth0")
    changed_at = time.monotonic()
    left.server.output.wait_for(r"receiver moves to /10\.77\.0\.3:4000$", after=mark)
    left.set(cookie, moved=True)
    wait_same(meeting, cookie, {"counter": 1, "moved": True})
    right.set(cookie, seen=True)
    wait_same(meeting, cookie, {"counter": 1, "moved": True, "seen": True})
    print(f"after the change of the address both agreed in {time.monotonic() - changed_at:.3f} s")
    for host in meeting:
        assert not host.server.output.matches("Received member disappeared"), host.name


def test_a_host_with_several_networks_says_what_to_set(hosts: tuple[Host, Host]) -> None:
    left, right = hosts
    run = left.namespace.run
    run("ip", "link", "add", "eth1", "type", "veth", "peer", "eth2")
    run("ip", "addr", "add", "10.88.0.1/24", "dev", "eth1")
    run("ip", "link", "set", "eth1", "up")
    left.start()
    wait_until(lambda: left.ask("/session.json").status == 200, "sessions on the left alone")

    ready = left.ask("/readyz")

    assert ready.status == 503
    assert (
        "there is no route to the others, and this host has several addresses: "
        "10.77.0.1 (eth0), 10.88.0.1 (eth1); "
        "set bind=… (REPLSESSION_BIND) to an address or interface that the other members see"
    ) in ready.json["state"]
    # A route is found without a restart; an interface can be named.
    run("ip", "route", "add", "228.0.0.4", "dev", "eth0")
    left.wait_ready()
    right.start(REPLSESSION_BIND="eth0")
    right.wait_ready()
    right.server.output.wait_for(f"Replication member added: tls://{left.address}:4000 name=left ")
