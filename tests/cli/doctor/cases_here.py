"""What is wrong on the host of the doctor itself: interface, address, route, group, firewall."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from replsession.cli.doctor.system import is_container
from tests.cli.doctor.ward import GROUP, PORT, Patient, proves
from tests.cluster.processes import wait_until

TUNNEL = """
import fcntl, struct, sys
tunnel = open("/dev/net/tun", "r+b", buffering=0)
fcntl.ioctl(tunnel, 0x400454CA, struct.pack("16sH22x", b"tun0", 0x1001))
print("open", flush=True)
sys.stdin.read()
"""
"""A VPN's end of a tunnel, which takes what is sent into it and gives nothing back."""
HOLD_PORT = """
import socket, sys
kind, host, port = sys.argv[1:]
sock = socket.socket(type=getattr(socket, kind))
sock.bind((host, int(port)))
kind == "SOCK_STREAM" and sock.listen()
print("held", flush=True)
sys.stdin.read()
"""
AS_CONTAINER = 'mount -t tmpfs tmpfs /run && touch /run/.containerenv && exec "$@"'


@contextmanager
def second_network(patient: Patient, name: str = "eth1") -> Iterator[None]:
    """Give the left host a second interface, to a network where nobody is."""
    run = patient.left.run
    run("ip", "link", "add", name, "type", "veth", "peer", "far0")
    run("ip", "address", "add", "10.88.0.1/24", "dev", name)
    run("ip", "link", "set", name, "up")
    run("ip", "link", "set", "far0", "up")
    try:
        yield
    finally:
        run("ip", "link", "del", name)


def let_a_program_have(patient: Patient, kind: str, address: str, port: int) -> None:
    """Let another program have a port, until the case ends."""
    program = patient.python(HOLD_PORT, kind, address, str(port), on=patient.left)
    program.output.wait_for("held")


@proves("interface-down")
def link_down(patient: Patient) -> None:
    patient.left.down()
    for bind in (patient.left.address, "eth0"):
        assert patient.doctor("--bind", bind).causes == ["interface-down"]
    patient.is_cured_of("interface-down")


@proves("no-carrier")
def no_carrier(patient: Patient) -> None:
    patient.set_port("down")
    told = patient.doctor()
    assert told.causes == ["no-carrier"]
    assert "eth0 is up, but has no link" in told.finding("no-carrier")["sentence"]
    patient.set_port("up")
    assert patient.doctor().causes == []


@proves("multicast-off")
def multicast_off(patient: Patient) -> None:
    patient.left.run("ip", "link", "set", "eth0", "multicast", "off")
    patient.is_cured_of("multicast-off")


@proves("no-multicast-route")
def two_networks_and_no_route(patient: Patient) -> None:
    with second_network(patient):
        told = patient.is_cured_of("no-multicast-route")
        assert told.finding("no-multicast-route")["undo"] == [f"ip route del {GROUP}/32 dev eth0"]
        mended = patient.is_set_right("no-multicast-route")
        assert mended == {"BIND": "eth0"}


@proves("no-multicast-route")
def one_network_and_no_route_is_a_note(patient: Patient) -> None:
    told = patient.doctor()
    assert (told.exit_code, told.causes, told.notes) == (0, [], ["no-multicast-route"])
    patient.carry_out(told.finding("no-multicast-route")["mend"][0])
    assert patient.doctor().notes == []


@proves("loopback-route")
def route_to_loopback(patient: Patient) -> None:
    patient.left.run("ip", "route", "add", "224.0.0.0/4", "dev", "lo", "src", "127.0.0.1")
    patient.is_cured_of("loopback-route")


@proves("route-refuses")
def route_that_forbids(patient: Patient) -> None:
    for kind in ("prohibit", "blackhole"):
        patient.left.run("ip", "route", "replace", kind, "224.0.0.0/4")
        assert patient.doctor().causes == ["route-refuses"]
    patient.is_cured_of("route-refuses")


@proves("loopback-address")
def loopback_address(patient: Patient) -> None:
    assert patient.doctor("--bind", "127.0.0.1").causes == ["loopback-address"]
    assert patient.is_set_right("loopback-address", BIND="127.0.0.1") == {"BIND": "auto"}


@proves("loopback-address")
def members_of_loopback_alone_are_well(patient: Patient) -> None:
    patient.member(patient.left, BIND="127.0.0.1")
    told = patient.doctor("--bind", "127.0.0.1")
    assert (told.exit_code, told.causes, told.notes) == (0, [], ["loopback-address"])


@proves("address-not-here")
def address_not_here(patient: Patient) -> None:
    assert patient.is_set_right("address-not-here", BIND="10.77.0.250") == {"BIND": "auto"}


@proves("no-address")
def no_ipv4_address(patient: Patient) -> None:
    patient.left.run("ip", "-4", "address", "flush", "dev", "eth0")
    patient.left.run("ip", "-6", "address", "add", "fd00::1/64", "dev", "eth0")
    told = patient.doctor()
    assert told.causes == ["no-address"]
    assert "IPv4 only" in told.finding("no-address")["sentence"]
    told = patient.doctor("--bind", "eth7")
    assert "no network interface 'eth7'" in told.finding("no-address")["sentence"]


@contextmanager
def container_network(patient: Patient) -> Iterator[None]:
    """Give the left host what a container engine makes, and lead the group there."""
    run = patient.left.run
    run("ip", "link", "add", "docker0", "type", "bridge", "mcast_snooping", "0")
    run("ip", "address", "add", "172.17.0.1/16", "dev", "docker0")
    run("ip", "link", "add", "veth0", "type", "veth", "peer", "container0")
    run("ip", "link", "set", "veth0", "master", "docker0", "up")
    run("ip", "link", "set", "container0", "up")
    run("ip", "link", "set", "docker0", "up")
    run("ip", "route", "add", "224.0.0.0/4", "dev", "docker0")
    carrier = ("cat", "/sys/class/net/docker0/carrier")
    wait_until(lambda: run(*carrier).strip() == "1", "docker0 has a link")
    yield


@proves("container-address", "nobody-heard", place="empty")
def address_of_a_container_network(patient: Patient) -> None:
    with container_network(patient):
        told = patient.doctor()
        assert told.causes == ["container-address", "nobody-heard"]
        assert "172.17.0.1 of docker0" in told.finding("container-address")["sentence"]
        patient.carry_out(told.finding("container-address")["mend"][0])
        assert patient.doctor().causes == ["nobody-heard"]
        patient.carry_out(told.finding("container-address")["undo"][0])
        settings = printed = patient.settings(BIND="eth0")
        assert "(REPLSESSION_BIND=eth0)" in told.finding("container-address")["mend"][1]
        assert patient.doctor(environment=settings).causes == ["nobody-heard"]
        assert printed


@proves("heard-elsewhere")
def group_leads_to_a_container_network(patient: Patient) -> None:
    with container_network(patient):
        told = patient.is_cured_of("heard-elsewhere")
        assert "come in on eth0" in told.finding("heard-elsewhere")["sentence"]


@proves("heard-elsewhere")
def group_leads_to_a_network_of_no_containers(patient: Patient) -> None:
    run = patient.left.run
    run("ip", "link", "add", "docker0", "type", "bridge")
    run("ip", "address", "add", "172.17.0.1/16", "dev", "docker0")
    run("ip", "link", "set", "docker0", "up")
    run("ip", "route", "add", "224.0.0.0/4", "dev", "docker0")
    patient.is_cured_of("heard-elsewhere")


@proves("heard-elsewhere")
def default_route_leads_to_another_network(patient: Patient) -> None:
    with second_network(patient):
        patient.left.run("ip", "route", "add", "default", "dev", "eth1")
        patient.is_cured_of("heard-elsewhere")
        assert patient.is_set_right("heard-elsewhere") == {"BIND": "eth0"}
        assert patient.is_set_right("heard-elsewhere", BIND="eth1") == {"BIND": "eth0"}


@proves("tunnel-address", "nobody-heard", place="empty")
def group_leads_into_a_tunnel(patient: Patient) -> None:
    patient.python(TUNNEL, on=patient.left).output.wait_for("open")
    run = patient.left.run
    run("ip", "address", "add", "10.8.0.2", "peer", "10.8.0.1", "dev", "tun0")
    run("ip", "link", "set", "tun0", "up")
    run("ip", "route", "add", "default", "dev", "tun0")
    told = patient.doctor()
    assert told.causes == ["tunnel-address", "nobody-heard"]
    patient.carry_out(told.finding("tunnel-address")["mend"][0])
    assert patient.doctor().causes == ["nobody-heard"]
    patient.carry_out(told.finding("tunnel-address")["undo"][0])
    # Members beyond it that are found by another interface are more to the point.
    patient.member(patient.right)
    assert patient.doctor().causes == ["heard-elsewhere"]


@proves("in-container", "nobody-heard", place="empty")
def in_a_container(patient: Patient) -> None:
    as_container = ("unshare", "-m", "sh", "-c", AS_CONTAINER, "sh")
    told = patient.doctor(before=as_container)
    assert (told.causes, told.notes[0]) == (["nobody-heard"], "in-container")
    if not is_container():
        assert "in-container" not in patient.doctor().notes
    told = patient.doctor(before=("env", "KUBERNETES_SERVICE_HOST=10.96.0.1"))
    assert told.notes[0] == "in-container"
    # Where others are heard, it is a network that has them.
    patient.member(patient.right)
    assert "in-container" not in patient.doctor(before=as_container).notes


@proves("group-port-taken")
def group_port_taken(patient: Patient) -> None:
    let_a_program_have(patient, "SOCK_DGRAM", "0.0.0.0", PORT)
    told = patient.doctor()
    assert told.causes == ["group-port-taken"]
    assert f'multicast=("{GROUP}", {PORT + 1})' in told.finding("group-port-taken")["mend"][1]
    assert patient.doctor("--multicast", f"{GROUP}:{PORT + 1}").causes == ["nobody-heard"]


@proves("cannot-join")
def groups_are_limited(patient: Patient) -> None:
    patient.left.run("sysctl", "-q", "-w", "net.ipv4.igmp_max_memberships=0")
    told = patient.is_cured_of("cannot-join")
    assert told.finding("cannot-join")["undo"] == ["sysctl -w net.ipv4.igmp_max_memberships=0"]


@proves("not-joined")
def address_on_two_interfaces(patient: Patient) -> None:
    run = patient.left.run
    run("ip", "link", "add", "eth1", "type", "veth", "peer", "far0")
    run("ip", "link", "set", "eth1", "up")
    run("ip", "link", "set", "far0", "up")
    run("ip", "address", "add", f"{patient.left.address}/32", "dev", "eth1")
    told = patient.is_cured_of("not-joined", "--bind", patient.left.address)
    assert "eth0 and eth1 both have" in told.finding("not-joined")["sentence"]


@proves("firewall-out")
def sending_forbidden(patient: Patient) -> None:
    patient.left.run("iptables", "-A", "OUTPUT", "-p", "udp", "-j", "DROP")
    told = patient.is_cured_of("firewall-out")
    assert told.told["facts"]["heard"], "the other direction works"


@proves("firewall-in")
def nothing_let_in(patient: Patient) -> None:
    patient.left.run("iptables", "-A", "INPUT", "-p", "udp", "-j", "DROP")
    told = patient.is_cured_of("firewall-in")
    assert told.told["facts"]["sent"] > 0 == told.told["facts"]["heard_itself"]


@proves("firewall-in")
def the_other_not_let_in(patient: Patient) -> None:
    others = ("-s", patient.right.address, "-p", "udp")
    patient.left.run("iptables", "-A", "INPUT", *others, "-j", "DROP")
    told = patient.is_cured_of("firewall-in")
    assert told.told["facts"]["heard_itself"] > 0
    assert patient.right.address in told.finding("firewall-in")["sentence"]


@proves("cannot-send", place="pair")
def link_goes_down_meanwhile(patient: Patient) -> None:
    listener = patient.listener(patient.right)
    there = listener.output.mark()
    doctor = patient.doctor_in_the_background(seconds=8)
    listener.output.wait_for(r"^rplD", after=there)
    patient.left.down()
    told = doctor()
    assert told.causes == ["cannot-send"]
    assert "unreachable" in told.finding("cannot-send")["sentence"]


@proves("receiver-port-taken")
def receiver_port_taken(patient: Patient) -> None:
    let_a_program_have(patient, "SOCK_STREAM", patient.left.address, 4000)
    assert patient.is_set_right("receiver-port-taken", AUTO_BIND="1")["PORT"] == "4001"
    # With more ports to try there is nothing to say.
    assert patient.doctor().causes == []


@proves("member-here")
def receiver_port_belongs_to_a_member(patient: Patient) -> None:
    patient.member(patient.left)
    told = patient.doctor("--auto-bind", "1")
    assert (told.causes, "member-here" in told.notes) == ([], True)
