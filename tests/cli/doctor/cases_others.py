"""What is wrong with the other hosts, with what they send, and with the network between."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable

from replsession.identity import Address
from replsession.messages import Heartbeat
from replsession.security.keys import ClusterKeys
from replsession.wire.encoding import encode_heartbeat
from tests.cli.doctor.forks import Program
from tests.cli.doctor.ward import GROUP, PORT, Patient, Told, printed_settings, proves
from tests.cluster import bridge, namespaces
from tests.cluster.bridge import network
from tests.cluster.namespaces import Namespace
from tests.cluster.processes import ROOT, random_secret

LONG = 11
"""Seconds of listening: some heartbeats, then more than three seconds of silence."""
SENDER = """
import socket, sys, time
address, group, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.bind((address, 0))
sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(address))
while True:
    for datagram in sys.argv[4:]:
        sock.sendto(bytes.fromhex(datagram), (group, port))
    time.sleep(0.25)
"""
ANSWERER = """
import socket, sys
server = socket.create_server((sys.argv[1], int(sys.argv[2])))
print("held", flush=True)
while True:
    connection, _ = server.accept()
    connection.sendall(b"HTTP/1.1 400 Bad Request\\r\\n\\r\\n")
    connection.close()
"""
OTHER_PROTOCOL = """
import sys
sys.path.insert(0, sys.argv[1])
from replsession.channel import tls
tls.PROTOCOL = "replsession/2"
"""
"""Before a member: what it names in ALPN is another version's."""
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
FORWARD = """
import socket, struct, sys
group, origin, *addresses = sys.argv[1:]
sock = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_IGMP)
sock.setsockopt(socket.IPPROTO_IP, 200, 1)
for number, address in enumerate(addresses):
    interface = struct.pack("HBBI4s4s", number, 0, 1, 0, socket.inet_aton(address), bytes(4))
    sock.setsockopt(socket.IPPROTO_IP, 202, interface)
ttls = bytes([0, 1]) + bytes(30)
ways = struct.pack("4s4sH32s", socket.inet_aton(origin), socket.inet_aton(group), 0, ttls)
sock.setsockopt(socket.IPPROTO_IP, 204, ways + bytes(18))
print("forwards", flush=True)
sys.stdin.read()
"""
"""
A router's program: forwards a group from one interface to another, as long as the TTL lasts.

*Source*: Linux ``mroute.h`` (MRT_INIT, MRT_ADD_VIF, MRT_ADD_MFC; ``vifctl``, ``mfcctl``).
"""


def wrong_secret(patient: Patient, text: str | None = None) -> dict[str, object]:
    """Return the doctor's option for another secret."""
    file = patient.secret.parent / f"{patient.left.name}.txt"
    file.write_text(text or random_secret())
    return {"secret": file}


def sends(patient: Patient, *datagrams: bytes) -> Program:
    """Let the right host send these to the group, four times a second."""
    words = [patient.right.address, GROUP, str(PORT), *(one.hex() for one in datagrams)]
    return patient.python(SENDER, *words, on=patient.right)


def keys_of(patient: Patient) -> ClusterKeys:
    return ClusterKeys(patient.secret_text, "shop")


def heartbeat(patient: Patient) -> bytes:
    """Return what a member on the right would send."""
    address = Address(patient.right.address, 4000)
    return keys_of(patient).seal(encode_heartbeat(Heartbeat(b"abcdefgh", address)))


@proves("other-secret")
def another_secret(patient: Patient) -> None:
    how = wrong_secret(patient)
    told = patient.doctor(**how)  # type: ignore[arg-type]
    assert told.causes == ["other-secret"]
    sentence = told.finding("other-secret")["sentence"]
    facts = told.told["facts"]
    assert patient.right.address in sentence
    assert facts["key_id"] in sentence and facts["heard"][0]["key_id"] in sentence
    assert facts["key_id"] != facts["heard"][0]["key_id"] == keys_of(patient).key_id.hex()
    # The same without a heartbeat of it.
    patient.left.run(
        "iptables", "-A", "INPUT", "-p", "udp", "-s", patient.right.address, "-j", "DROP"
    )
    told = patient.doctor("--peer", f"{patient.right.address}:4000", **how)  # type: ignore[arg-type]
    assert "other-secret" in told.causes


@proves("other-secret")
def a_line_end_in_the_secret(patient: Patient) -> None:
    patient.member(patient.left, SECRET=patient.secret_text + "\n", PORT="4100")
    told = patient.doctor()
    assert told.causes == ["other-secret"]
    assert "a secret that ends with a line end" in told.finding("other-secret")["sentence"]


@proves("other-name")
def another_name(patient: Patient) -> None:
    told = patient.doctor(name="Shop")
    assert told.causes == ["other-name"]
    assert told.finding("other-name")["sentence"].endswith("our name in small letters")


@proves("other-secret-or-name")
def strangers_that_cannot_be_dialled(patient: Patient) -> None:
    patient.left.run("iptables", "-A", "OUTPUT", "-p", "tcp", "-j", "DROP")
    told = patient.doctor(name="Shop")
    assert told.causes == ["other-secret-or-name"]


@proves("secret-not-given")
def no_secret_is_given(patient: Patient) -> None:
    told = patient.doctor(environment={"REPLSESSION_CLUSTER": "lan:shop"})
    assert told.causes == ["secret-not-given"]
    assert keys_of(patient).key_id.hex() in told.finding("secret-not-given")["sentence"]


@proves("nobody-heard", place="empty")
def nobody_is_there(patient: Patient) -> None:
    assert patient.doctor().causes == ["nobody-heard"]
    # Without the right to hear before the firewall, that is advised.
    without = ("setpriv", "--bounding-set", "-net_raw", "--inh-caps", "-net_raw")
    told = patient.doctor(before=without)
    assert told.causes == ["nobody-heard"]
    assert told.finding("nobody-heard")["mend"][-1].startswith("sudo replsession doctor")
    patient.member(patient.left)
    told = patient.doctor()
    assert "(beside 1 on this host)" in told.finding("nobody-heard")["sentence"]


@proves("other-version", place="empty")
def heartbeats_of_another_version(patient: Patient) -> None:
    newer = b"rplI" + heartbeat(patient)[4:]
    sender = sends(patient, newer)
    assert patient.doctor().causes == ["other-version"]
    sender.end()
    unlike = keys_of(patient).seal(b"\x84" + encode_heartbeat(Heartbeat(b"a" * 8, Address("h", 1))))
    sends(patient, unlike)
    assert patient.doctor().causes == ["other-version"]


@proves("other-version", place="empty")
def links_of_another_version(patient: Patient) -> None:
    member = patient.member(patient.right, before=OTHER_PROTOCOL)
    told = patient.doctor()
    assert told.causes == ["other-version"]
    assert f"{patient.right.address}:4000" in told.finding("other-version")["sentence"]
    assert told.told["facts"]["heard"][0]["kind"] == "ours"
    assert member.is_running


@proves("forged", "foreign-datagrams", "tomcat", place="pair")
def datagrams_that_are_nobodys(patient: Patient) -> None:
    made_up = heartbeat(patient)[:-16] + bytes(16)
    for cause, datagram in {
        "forged": made_up,
        "foreign-datagrams": b"anything",
        "tomcat": b"TRIBES-B\x01\x00 and what Tomcat says",
    }.items():
        sender = sends(patient, datagram)
        told = patient.doctor()
        sender.end()
        finding = told.finding(cause)
        assert patient.right.address in finding["sentence"]
        assert told.exit_code == int(cause == "forged")
        # The member beside it is heard all the same.
        assert "ours" in [heard["kind"] for heard in told.told["facts"]["heard"]]


@proves("member-left", place="pair")
def member_stops(patient: Patient) -> None:
    other = patient.member(patient.right, PORT="4100")
    told = when_heard(patient, other.end)
    assert (told.causes, told.notes) == ([], ["no-multicast-route", "member-left"])
    # The other one on its host, which is still heard, does not hide it.
    assert f"{patient.right.address}:4100" in told.finding("member-left")["sentence"]


@proves("member-hangs", place="empty")
def member_is_stopped_by_a_signal(patient: Patient) -> None:
    member = patient.member(patient.right)
    told = when_heard(patient, lambda: member.signal(signal.SIGSTOP))
    assert told.causes == ["member-hangs"]
    told = patient.doctor("--peer", f"{patient.right.address}:4000")
    assert told.causes[0] == "member-hangs"
    member.signal(signal.SIGCONT)
    assert patient.doctor().causes == []


@proves("multicast-stopped", place="pair")
def heard_at_first_and_then_no_more(patient: Patient) -> None:
    def stop() -> None:
        patient.right.run("iptables", "-A", "OUTPUT", "-p", "udp", "-d", GROUP, "-j", "DROP")

    told = when_heard(patient, stop)
    assert told.causes == ["multicast-stopped"]
    assert told.told["facts"]["rejoined_hears"] == []
    # The seed that it prints makes up for it.
    seeds = printed_settings(told.finding("multicast-stopped"))
    told = patient.doctor(environment=patient.settings(**seeds))
    assert (told.causes, "found-by-seeds" in told.notes) == ([], True)


def when_heard(patient: Patient, then: Callable[[], object]) -> Told:
    """Start the doctor; when it has had time for some heartbeats, let something happen."""
    listener = patient.listener(patient.left)
    before = listener.output.mark()
    doctor = patient.doctor_in_the_background(seconds=LONG)
    began = listener.output.wait_for(r"^rplD " + patient.left.address.replace(".", r"\."), before)
    mark = listener.output.lines.index(began.string, before)
    beats = [r"^rplH"] * 6
    listener.output.assert_in_order(beats, after=mark)
    then()
    told = doctor()
    listener.end()
    return told


@proves("snooping-without-querier", place="none")
def a_switch_that_snoops_and_nobody_asks(patient: Patient) -> None:
    with network(2) as net:
        left, right = net.hosts
        patient.left, patient.right = left, right
        patient.member(right)
        switch = ("ip", "-n", net.switch, "link", "set", bridge.BRIDGE, "type", "bridge")
        namespaces.run(*switch, "mcast_snooping", "1", "mcast_membership_interval", "300")
        # One question makes the switch believe that somebody asks; then nobody does.
        net.client.run(sys.executable, "-c", QUERY, net.client.address)
        told = patient.doctor(seconds=LONG)
        assert told.causes == ["snooping-without-querier"]
        assert told.told["facts"]["rejoined_hears"] == [f"{right.address}:4000"]
        # A querier is what it advises; one that asks every second is soon heard.
        timing = {"querier_interval": 0, "query_interval": 100, "query_response_interval": 50}
        words = [word for name, value in timing.items() for word in (f"mcast_{name}", str(value))]
        namespaces.run(*switch, "mcast_startup_query_interval", "100", *words)
        namespaces.run(*switch, "mcast_querier", "1")
        # Else it would wait for the one that had asked before.
        for state in ("down", "up"):
            namespaces.run("ip", "-n", net.switch, "link", "set", bridge.BRIDGE, state)
        assert patient.doctor(seconds=LONG).causes == []
        patient.ended.close()


@proves("one-way", place="pair")
def one_direction_only(patient: Patient) -> None:
    from_left = ("INPUT", "-s", patient.left.address, "-p", "udp", "-j", "DROP")
    patient.right.run("iptables", "-A", *from_left)
    with_other_doctor(patient)
    told = patient.is_cured_of("one-way", seconds=4)
    assert told.finding("one-way")["mend"][0].startswith(
        f"on {patient.right.address}: iptables -I INPUT "
    )


@proves("clock-skew", place="pair")
def a_clock_that_is_ahead(patient: Patient) -> None:
    with_other_doctor(patient, offset_s=3600)
    told = patient.doctor()
    assert (told.causes, "clock-skew" in told.notes) == ([], True)
    sentence = told.finding("clock-skew")["sentence"]
    assert "ahead of this host's" in sentence
    assert 3500 < told.told["facts"]["doctors"][0]["ahead_s"] < 3700


def with_other_doctor(patient: Patient, offset_s: int = 0) -> None:
    """Let a doctor listen on the right, until the case ends."""
    listener = patient.listener(patient.left)
    before = listener.output.mark()
    patient.doctor_beside(on=patient.right, seconds=300, offset_s=offset_s)
    # Four probes: it has listened for more than a second.
    listener.output.assert_in_order([r"^rplD"] * 4, after=before)


@proves("multicast-lost", "found-by-seeds", "nobody-heard", place="none")
def multicast_is_lost_between(patient: Patient) -> None:
    with network(2) as net:
        patient.left, patient.right = net.hosts
        for number in (1, 2):
            port = ("ip", "-n", net.switch, "link", "set", "dev", f"port{number}")
            namespaces.run(*port, "type", "bridge_slave", "mcast_flood", "off")
        patient.member(patient.right)
        assert patient.doctor().causes == ["nobody-heard"]
        told = patient.doctor("--peer", f"{patient.right.address}:4000")
        assert told.causes == ["multicast-lost"]
        is_found_by_seeds(patient, told.finding("multicast-lost"))
        patient.ended.close()


def is_found_by_seeds(patient: Patient, finding: dict[str, object]) -> None:
    """Let the doctor, and then a member, use the seeds that are printed."""
    seeds = printed_settings(finding)
    assert seeds == {"SEEDS": f"{patient.right.address}:4000"}
    told = patient.doctor(environment=patient.settings(**seeds))
    assert (told.causes, "found-by-seeds" in told.notes) == ([], True)
    patient.member(patient.left, **seeds).output.wait_for("Replication member added")


@proves("other-network", "found-by-seeds", place="none")
def a_router_between(patient: Patient) -> None:
    with network(2) as net:
        left, _ = net.hosts
        name = namespaces.some_name()
        with namespaces.namespace(name):
            routed(left, net.client, name)
            patient.left, patient.right = left, Namespace(name, "10.99.0.2")
            patient.member(patient.right)
            told = patient.doctor("--peer", "10.99.0.2:4000")
            assert told.causes == ["other-network"]
            is_found_by_seeds(patient, told.finding("other-network"))
            # The router does forward the group: what stops heartbeats is their TTL.
            net.client.run("sysctl", "-q", "-w", "net.ipv4.ip_forward=1")
            words = (GROUP, "10.99.0.2", "10.99.0.1", net.client.address)
            patient.python(FORWARD, *words, on=net.client).output.wait_for("forwards")
            assert patient.doctor("--peer", "10.99.0.2:4000").causes == ["other-network"]
            more = ("-t", "mangle", "-A", "POSTROUTING", "-d", GROUP, "-j", "TTL", "--ttl-set", "2")
            patient.right.run("iptables", *more)
            told = patient.doctor()
            assert "10.99.0.2" in [heard["host"] for heard in told.told["facts"]["heard"]]
            patient.ended.close()


def routed(left: Namespace, router: Namespace, far: str) -> None:
    """Plug a host into the router, in a network of its own, and lead the ways there and back."""
    far_end = ("peer", "eth0", "netns", far)
    namespaces.run("ip", "-n", router.name, "link", "add", "eth1", "type", "veth", *far_end)
    for name, interface, address in (
        (router.name, "eth1", "10.99.0.1"),
        (far, "eth0", "10.99.0.2"),
    ):
        namespaces.run("ip", "-n", name, "address", "add", f"{address}/24", "dev", interface)
        namespaces.run("ip", "-n", name, "link", "set", interface, "up")
    router.run("sysctl", "-q", "-w", "net.ipv4.ip_forward=1")
    left.run("ip", "route", "add", "default", "via", router.address)
    namespaces.run("ip", "-n", far, "route", "add", "default", "via", "10.99.0.1")


@proves("no-way-back", "no-route", place="empty")
def another_network_on_the_same_wire(patient: Patient) -> None:
    run = patient.right.run
    run("ip", "address", "replace", "10.99.0.2/24", "dev", "eth0")
    run("ip", "address", "del", f"{patient.right.address}/24", "dev", "eth0")
    run("ip", "route", "add", "10.77.0.0/24", "dev", "eth0")
    patient.member(patient.right)
    for strict, cause in (("0", "no-route"), ("1", "no-way-back")):
        for interface in ("all", "eth0"):
            patient.left.run("sysctl", "-q", "-w", f"net.ipv4.conf.{interface}.rp_filter={strict}")
        told = patient.is_cured_of(cause)
        assert told.finding(cause)["mend"][0] == "ip route add 10.99.0.2/32 dev eth0"


@proves("no-route")
def a_peer_that_no_route_leads_to(patient: Patient) -> None:
    assert patient.doctor("--peer", "10.99.0.1:4000").causes == ["no-route"]


@proves("host-down", "name-unknown")
def peers_that_are_not_there(patient: Patient) -> None:
    told = patient.doctor("--peer", "10.77.0.250:4000", "--peer", "nowhere.invalid:4000")
    assert sorted(told.causes) == ["host-down", "name-unknown"]
    # As seeds of a cluster that is well they are no errors, but worth a look.
    seeds = f"10.77.0.250:4000,{patient.left.address}:4000"
    told = patient.doctor(environment=patient.settings(SEEDS=seeds))
    assert (told.causes, told.finding("host-down")["severity"]) == (["host-down"], "warning")


@proves("tcp-silent", place="pair")
def connections_dropped(patient: Patient) -> None:
    patient.right.run("iptables", "-A", "INPUT", "-p", "tcp", "--dport", "4000", "-j", "DROP")
    patient.is_cured_of("tcp-silent")


@proves("tcp-refused", place="pair")
def connections_rejected(patient: Patient) -> None:
    patient.right.run("iptables", "-A", "INPUT", "-p", "tcp", "--dport", "4000", "-j", "REJECT")
    patient.is_cured_of("tcp-refused")


@proves("tcp-unreachable", place="pair")
def connections_prohibited(patient: Patient) -> None:
    how = ("-j", "REJECT", "--reject-with", "icmp-admin-prohibited")
    patient.right.run("iptables", "-A", "INPUT", "-p", "tcp", "--dport", "4000", *how)
    patient.is_cured_of("tcp-unreachable")


@proves("other-program")
def another_program_at_the_port(patient: Patient) -> None:
    words = (patient.left.address, "4300")
    patient.python(ANSWERER, *words, on=patient.left).output.wait_for("held")
    told = patient.doctor("--peer", f"{patient.left.address}:4300")
    assert told.causes == ["other-program"]


@proves()
def all_is_well_and_the_member_hears_of_nothing(patient: Patient) -> None:
    told = patient.doctor("--peer", f"{patient.right.address}:4000", seconds=3)
    assert (told.exit_code, told.causes) == (0, [])
    facts = told.told["facts"]
    assert facts["heard_itself"] == facts["sent"] > 1
    (heard,) = facts["heard"]
    assert (heard["host"], heard["kind"]) == (patient.right.address, "ours")
    assert heard["receivers"] == [4000] and heard["datagrams"] >= 2
    (peer,) = facts["peers"]
    assert (peer["answer"], peer["speaks"]) == ("open", "ours")
    assert patient.secret_text not in str(told.told)


@proves(place="pair")
def a_member_is_not_disturbed(patient: Patient) -> None:
    member = patient.member(patient.left)
    mark = member.output.mark()
    assert patient.doctor().causes == []
    assert member.output.lines[mark:] == []


@proves(place="empty")
def without_multicast_seeds_are_dialled(patient: Patient) -> None:
    file = patient.secret.parent / "without.toml"
    file.write_text("[replsession]\nmulticast = false\n")
    patient.member(patient.right, CONFIG=str(file))
    seeds = f"{patient.right.address}:4000"
    told = patient.doctor(environment=patient.settings(CONFIG=str(file), SEEDS=seeds))
    assert (told.causes, told.notes) == ([], [])
    (peer,) = told.told["facts"]["peers"]
    assert (peer["why"], peer["speaks"]) == ("seed", "ours")
    wrong = patient.settings(CONFIG=str(file), SEEDS=f"{patient.right.address}:4001")
    assert patient.doctor(environment=wrong).causes == ["tcp-refused"]


@proves()
def what_people_read(patient: Patient) -> None:
    words = ["--name", "shop", "--secret-file", str(patient.secret), "--seconds", "2"]
    command = [*patient.left.prefix, "env", "PATH=/nowhere", sys.executable, "-m", "replsession"]
    told = subprocess.run(
        [*command, "doctor", *words], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert told.returncode == 0, told.stderr
    assert told.stderr == ""
    row = next(line for line in told.stdout.splitlines() if patient.right.address in line)
    assert row.split()[:4] == [patient.right.address, "ours", "4000", "open"]
    assert told.stdout.splitlines()[-1].startswith("OK 1 member is heard from other hosts")
    assert "\x1b" not in told.stdout
    assert max(map(len, told.stdout.splitlines()[1:4])) <= 80
