"""The network itself: who hears whom, with and without each fault; and that it is always undone."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest

from tests.cluster.bridge import Network, network
from tests.cluster.namespaces import Namespace, remove_leftovers, run, some_name
from tests.cluster.processes import Process, Processes

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(120)]

GROUP = "228.0.0.4"
EAR = """
import socket, sys
address, group = sys.argv[1:]
ear = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
ear.bind(("", 5000))
joined = socket.inet_aton(group) + socket.inet_aton(address)
ear.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, joined)
door = socket.create_server(("", 5001))
print("listens")
while True:
    words, source = ear.recvfrom(2000)
    print(source[0], "said", words.decode(), flush=True)
"""
MOUTH = """
import socket, sys
address, to, words = sys.argv[1:]
mouth = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
mouth.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(address))
mouth.sendto(words.encode(), (to, 5000))
"""
KNOCK = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], 5001), timeout=0.5).close()
    print("open")
except OSError as error:
    print(type(error).__name__)
"""
OPEN, REFUSED, SILENT = "open", "ConnectionRefusedError", "TimeoutError"


@pytest.fixture(scope="module")
def net(possible: None) -> Iterator[Network]:
    """Three hosts and a client."""
    with network(3) as made:
        yield made


@pytest.fixture(scope="module", autouse=True)
def ears(net: Network) -> Iterator[dict[Namespace, Process]]:
    """Something on each host that prints what it hears, on its own address and in a group."""
    with Processes() as processes:
        listening = {
            host: processes.python(
                "-c", EAR, host.address, GROUP, name=host.address, prefix=host.prefix
            )
            for host in (*net.hosts, net.client)
        }
        for ear in listening.values():
            ear.output.wait_for("listens")
        yield listening


def say(source: Namespace, to: str, words: str) -> None:
    """Send a datagram."""
    source.run(sys.executable, "-I", "-S", "-c", MOUTH, source.address, to, words)


def knock(source: Namespace, target: Namespace) -> str:
    """Try to connect; return what came of it."""
    return source.run(sys.executable, "-I", "-S", "-c", KNOCK, target.address).strip()


def heard(ears: dict[Namespace, Process], source: Namespace, target: Namespace, words: str) -> bool:
    """Return whether words arrived; called when the fault is over, so that later ones do."""
    say(source, target.address, f"after {words}")
    ears[target].output.wait_for(f"^{source.address} said after {words}$")
    return bool(ears[target].output.matches(f"^{source.address} said {words}$"))


def test_all_hear_all_datagrams_and_groups(net: Network, ears: dict[Namespace, Process]) -> None:
    everybody = (*net.hosts, net.client)
    for source in everybody:
        say(source, GROUP, "all")
        for target in everybody:
            ears[target].output.wait_for(f"^{source.address} said all$")
    assert {knock(source, target) for source in everybody for target in everybody} == {OPEN}


def test_a_cut_in_one_direction_lets_the_other_pass(
    net: Network, ears: dict[Namespace, Process]
) -> None:
    one, two, three = net.hosts
    with net.one_way(one, two):
        for source, target in ((one, two), (two, one), (three, two), (one, three)):
            say(source, target.address, "cut")
        say(one, GROUP, "cut")
    assert not heard(ears, one, two, "cut")
    assert all(heard(ears, *pair, "cut") for pair in ((two, one), (three, two), (one, three)))


def test_a_cut_and_an_isolated_host_are_silent_but_for_the_client(net: Network) -> None:
    one, two, three = net.hosts
    with net.cut(one, two):
        assert [knock(one, two), knock(two, one)] == [SILENT, SILENT]
        assert [knock(one, three), knock(net.client, two)] == [OPEN, OPEN]
    with net.isolated(three):
        assert [knock(one, three), knock(three, two)] == [SILENT, SILENT]
        assert [knock(one, two), knock(net.client, three)] == [OPEN, OPEN]
    assert [knock(one, two), knock(three, two)] == [OPEN, OPEN]


def test_a_deaf_host_is_heard_and_a_mute_one_hears(
    net: Network, ears: dict[Namespace, Process]
) -> None:
    one, two, three = net.hosts
    with net.deaf(one):
        say(one, two.address, "deaf")
        say(two, one.address, "deaf")
        say(three, one.address, "deaf")
    with net.mute(one):
        say(one, three.address, "mute")
        say(three, one.address, "mute")
    assert heard(ears, one, two, "deaf") and heard(ears, three, one, "mute")
    silent = ((two, one, "deaf"), (three, one, "deaf"), (one, three, "mute"))
    assert not any(heard(ears, *words) for words in silent)


def test_a_rejection_refuses_connections_and_lets_datagrams_pass(
    net: Network, ears: dict[Namespace, Process]
) -> None:
    one, two, three = net.hosts
    with net.rejected(one, two):
        assert [knock(one, two), knock(two, one), knock(three, two)] == [REFUSED, REFUSED, OPEN]
        say(one, two.address, "rejected")
    assert heard(ears, one, two, "rejected")
    with net.shunned(three):
        assert [knock(one, three), knock(three, two)] == [REFUSED, REFUSED]
    assert [knock(one, two), knock(one, three)] == [OPEN, OPEN]


def test_losses_are_between_hosts_only(net: Network, ears: dict[Namespace, Process]) -> None:
    one, two, _ = net.hosts
    with net.lossy(1.0):
        say(one, two.address, "lost")
        say(net.client, two.address, "lost")
    assert not heard(ears, one, two, "lost")
    assert heard(ears, net.client, two, "lost")


def unplugged(net: Network, host: Namespace) -> AbstractContextManager[None]:
    """Pull the plug."""
    return net.unplugged(host)


def without_interface(net: Network, host: Namespace) -> AbstractContextManager[None]:
    """Take the interface away."""
    return net.without_interface(host)


@pytest.mark.parametrize("fault", [unplugged, without_interface])
def test_a_host_without_a_link_comes_back(
    net: Network, fault: Callable[[Network, Namespace], AbstractContextManager[None]]
) -> None:
    one, two, _ = net.hosts
    with fault(net, two):
        assert knock(one, two) != OPEN
    assert [knock(two, one), knock(one, two)] == [OPEN, OPEN]


def test_a_slow_link_is_slow_at_both_ends(net: Network) -> None:
    one, two, _ = net.hosts
    with net.slow(two, "256kbit"):
        ends = ((two.name, "eth0"), (net.switch, "port2"))
        shown = [run("tc", "-n", name, "qdisc", "show", "dev", end) for name, end in ends]
        assert ["tbf" in text and "rate 256Kbit" in text for text in shown] == [True, True]
        assert knock(one, two) == OPEN
    assert not any("tbf" in run("tc", "-n", name, "qdisc") for name in (two.name, net.switch))


def test_a_fault_is_undone_when_its_block_fails(net: Network) -> None:
    one, two, _ = net.hosts
    before = [host.run("iptables", "-S") for host in net.hosts]
    with pytest.raises(ZeroDivisionError):
        with net.cut(one, two), net.lossy(0.5), net.rejected(one, two):
            assert [host.run("iptables", "-S") for host in net.hosts] != before
            raise ZeroDivisionError
    assert [host.run("iptables", "-S") for host in net.hosts] == before


def test_what_a_killed_run_left_behind_is_taken_away(possible: None) -> None:
    ended = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    name = some_name(ended.pid)
    ended.communicate(b"\n")
    run("ip", "netns", "add", name)
    with network(1) as ours, Processes() as processes:
        left = processes.python(
            "-c", "print('here'); input()", prefix=("ip", "netns", "exec", name)
        )
        left.output.wait_for("here")
        assert remove_leftovers() == [name]
        assert left.wait() < 0
        ours.hosts[0].run("true")
    assert name not in run("ip", "netns", "list")
