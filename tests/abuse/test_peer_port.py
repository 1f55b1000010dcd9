"""
What may come to the port of a member, from strangers and from who has the secret.

Each attack meets a member that runs and has a good neighbour. Whatever comes: the link is closed,
the log says why, nothing is raised on the loop, and the two go on replicating.
"""

from __future__ import annotations

import asyncio
import logging
import random
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import Any

import cbor2
import pytest

from replsession import messages as m
from replsession.channel import aio
from replsession.channel.channel import Channel
from replsession.channel.links import HANDSHAKES_MAX, HANDSHAKES_OF_SOURCE_MAX
from replsession.channel.tls import LinkSecurity
from replsession.config import ClusterSettings, Limits, NodeConfig, Timing
from replsession.identity import Address, Key
from replsession.membership.membership import Membership
from replsession.session.delta import REGISTER, Delta, Piece, Write
from replsession.session.stamp import Stamp
from replsession.wire.encoding import KINDS, encode
from replsession.wire.framing import HEAD, WIRE_VERSION, frame
from tests.channel.running import (
    HOST,
    PATIENCE_S,
    SECRET,
    Home,
    Host,
    keys_of,
    names_of_others,
    read,
    some_settings,
    until,
    write,
)

OTHER_SECRET = SECRET[::-1]
STRANGER = bytes.fromhex("57a4637e57a4637e")
OTHER = bytes.fromhex("07e407e407e407e4")
QUICK = Timing(
    heartbeat_interval_s=0.1,
    drop_after_s=2.0,
    discovery_s=0.15,
    hello_timeout_s=0.6,
    transfer_stall_s=0.5,
)
MIB = 1024 * 1024


class Scene:
    """A member to attack, its good neighbour, and what they say."""

    def __init__(self, host: Host, caplog: pytest.LogCaptureFixture) -> None:
        self._host = host
        self._caplog = caplog
        self._sessions = 0
        self.settings: ClusterSettings = some_settings(QUICK)
        self.victim = host.started(self.settings)
        self.good = host.started(self.settings)
        self.until_met(self.good)

    @property
    def home(self) -> Home:
        """Return the loop of the attacked member."""
        home = self._host.home(self.victim)
        assert home is not None
        return home

    @property
    def address(self) -> Address:
        """Return where the attacked member listens."""
        return self.victim.member.node.me.address

    def until_met(self, other: Channel) -> None:
        """Wait until the attacked member and another one see each other."""
        theirs, ours = other.member.node.me, self.victim.member.node.me
        until(lambda: theirs.name in names_of_others(self.victim), "the other is seen")
        until(lambda: ours.name in names_of_others(other), "and sees us")

    def until_refused(self, number: int, what: str) -> None:
        """Wait until so many links were refused, and no more."""
        until(lambda: self.victim.metrics.links_refused >= number, what)
        assert self.victim.metrics.links_refused == number, what

    def until_said(self, text: str) -> None:
        """Wait for a line of the log that has this in it."""
        until(lambda: any(text in line for line in self._caplog.messages), text)

    def assert_serving(self) -> None:
        """Assert that the member replicates, that only its neighbour is up, and nothing raised."""
        until(
            lambda: names_of_others(self.victim) == [self.good.member.node.me.name],
            "only the good one is there",
        )
        for ours, theirs in ((self.victim, self.good), (self.good, self.victim)):
            self._sessions += 1
            number = self._sessions
            assert write(ours, number, a=b"\x01", birth=True)
            until(partial(read, theirs, number), "a write arrives")
        assert self.home.problems == []

    def assert_somebody_can_join(self) -> None:
        """Assert that a further good member gets in and gets all."""
        joiner = self._host.started(self.settings)
        self.until_met(joiner)
        assert read(joiner, self._sessions) == {"a": b"\x01"}
        self._host.stop(joiner)
        until(lambda: len(names_of_others(self.victim)) == 1, "it has left again")

    def security(self, member: bytes = STRANGER, secret: str = SECRET) -> LinkSecurity:
        """Return what a member with this secret shows and trusts."""
        settings = replace(self.settings, secret=secret)
        return LinkSecurity(keys_of(settings), settings.name, member)

    def connected(self, source: str = HOST) -> socket.socket:
        """Return a plain connection."""
        return socket.create_connection(self.address, PATIENCE_S, (source, 0))

    def let_in(self, member: bytes = STRANGER) -> ssl.SSLSocket:
        """Return a link as of a member, before its HELLO."""
        security = self.security(member)
        return security.client_context.wrap_socket(
            self.connected(), server_hostname=security.server_hostname
        )

    def introduced(self, member: bytes = STRANGER, address: Address | None = None) -> ssl.SSLSocket:
        """Return a link as of a member that is up."""
        link = self.let_in(member)
        link.sendall(hello(member, address or Address(HOST, 1)))
        until(lambda: member in self.victim.member.node.membership.link_of, "the stranger is up")
        return link


@pytest.fixture
def scene(loop_host: Host, caplog: pytest.LogCaptureFixture) -> Iterator[Scene]:
    """A scene on each kind of loop; afterwards a good member must still get in."""
    caplog.set_level(logging.DEBUG, "replsession")
    made = Scene(loop_host, caplog)
    yield made
    made.assert_serving()
    made.assert_somebody_can_join()


@pytest.fixture(params=["asyncio", "uvloop"])
def loop_host(request: pytest.FixtureRequest) -> Iterator[Host]:
    """A host whose members live on the application's loop, of each kind."""
    with_kind = Host(request.param)
    yield with_kind
    with_kind.close()


def hello(member: bytes, address: Address) -> bytes:
    """Return the HELLO of a member, as bytes."""
    return encode(m.Hello(member, "stranger", 1, address, ready=True, alive_ms=1))


def rest_of(link: socket.socket) -> bytes:
    """Return what comes until the other end closes, in whichever way it does."""
    link.settimeout(PATIENCE_S)
    heard = b""
    try:
        while data := link.recv(65536):
            heard += data
    except TimeoutError:
        raise AssertionError("the link was left open") from None
    except OSError:
        # A reset, or the alert of TLS that says why.
        pass
    return heard


def careless(security: LinkSecurity) -> ssl.SSLContext:
    """Return a client that talks to anybody, as an attacker does."""
    context = security.client_context
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def anonymous(versions: ssl.TLSVersion) -> ssl.SSLContext:
    """Return such a client that has no certificate at all."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = context.maximum_version = versions
    return context


def test_strangers_get_no_link(scene: Scene) -> None:
    with_secret = scene.security().client_context
    with_secret.minimum_version = ssl.TLSVersion.TLSv1_2
    with_secret.maximum_version = ssl.TLSVersion.TLSv1_2
    contexts = {
        "another secret, careless": careless(scene.security(secret=OTHER_SECRET)),
        "another secret": scene.security(secret=OTHER_SECRET).client_context,
        "no certificate": anonymous(ssl.TLSVersion.TLSv1_3),
        "no certificate, TLS 1.2": anonymous(ssl.TLSVersion.TLSv1_2),
        "the secret, TLS 1.2": with_secret,
    }
    for number, (what, context) in enumerate(contexts.items(), start=1):
        with closing(scene.connected()) as connection:
            source = Address(*connection.getsockname())
            try:
                link = context.wrap_socket(
                    connection, server_hostname=scene.security().server_hostname
                )
            except ssl.SSLError:
                pass
            else:
                with closing(link):
                    link.sendall(hello(STRANGER, Address(HOST, 1)))
                    assert rest_of(link) == b"", what
        if what == "no certificate":
            scene.until_said(f"Connection from {source} is no member's: ")
        else:
            scene.until_said(f"Handshake with {source} failed: ")
        # The system may give a port again that an earlier word was said from.
        scene.until_refused(number, what)


def test_what_is_not_tls_is_closed_unread(scene: Scene) -> None:
    words = {
        "http": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        "ssh": b"SSH-2.0-OpenSSH_9.2\r\n",
        "zeroes": bytes(MIB),
        "noise": random.Random(7).randbytes(MIB),
        "a long ClientHello": b"\x16\x03\x01\xff\xff\x01" + bytes(70_000),
        "frames without TLS": hello(STRANGER, Address(HOST, 1)) + encode(m.Ping()),
    }
    for number, (what, spoken) in enumerate(words.items(), start=1):
        with closing(scene.connected()) as connection:
            source = Address(*connection.getsockname())
            try:
                connection.sendall(spoken)
            except OSError:
                # Closed in the middle of it.
                pass
            # At most an alert of TLS: not a frame, not a page.
            assert len(rest_of(connection)) < 16, what
        scene.until_said(f"Handshake with {source} failed: ")
        # The system may give a port again that an earlier word was said from.
        scene.until_refused(number, what)


def test_silent_connections_are_bounded_in_number_and_time(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aio, "HANDSHAKE_TIMEOUT_S", 1.5)
    sources = ["127.0.0.2", "127.0.0.3", "127.0.0.4"]
    each = HANDSHAKES_OF_SOURCE_MAX + 4
    silent = [scene.connected(source) for source in sources for _ in range(each)]
    refused = len(silent) - HANDSHAKES_MAX
    until(lambda: scene.victim.metrics.links_refused >= refused, "those beyond the bounds")

    scene.assert_serving()
    scene.assert_somebody_can_join()

    for connection in silent:
        assert rest_of(connection) == b""
        connection.close()
    until(lambda: scene.victim.metrics.links_refused >= len(silent), "all of them, in the end")


def test_a_handshake_in_drops_is_bounded_in_time(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aio, "HANDSHAKE_TIMEOUT_S", 0.5)
    with closing(scene.connected()) as connection:
        connection.settimeout(0.02)
        deadline = time.monotonic() + PATIENCE_S
        for octet in b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(1000):
            assert time.monotonic() < deadline, "it was left open"
            try:
                connection.sendall(bytes([octet]))
                if connection.recv(1) == b"":
                    break
            except TimeoutError:
                continue
            except OSError:
                break
    until(lambda: scene.victim.metrics.links_refused == 1, "it is counted")


def test_without_a_hello_a_link_is_closed(scene: Scene) -> None:
    with closing(scene.let_in()) as link:
        source = Address(*link.getsockname())
        rest_of(link)

    scene.until_said(f"Link with {source} closes: no HELLO")


HELLO = hello(STRANGER, Address(HOST, 1))


IMPROPER = (
    (encode(m.Ping()), "Ping before HELLO"),
    (encode(m.Goodbye()), "Goodbye before HELLO"),
    (encode(m.StateRequest(1, 0)), "StateRequest before HELLO"),
    (HELLO + HELLO, "a second HELLO"),
    (hello(OTHER, Address(HOST, 1)), "the certificate names another member"),
    (HEAD.pack(5 * MIB, WIRE_VERSION, 1), f"a frame of {5 * MIB} bytes; at most {4 * MIB}"),
    (HEAD.pack(2**32 - 1, WIRE_VERSION, 1), f"a frame of {2**32 - 1} bytes; at most"),
    (HEAD.pack(0, WIRE_VERSION, 1), "a frame of 0 bytes; at most"),
    (HEAD.pack(2, 0, 1), "wire version 0; this member speaks 1"),
    (HELLO + HEAD.pack(2, 99, 1), "wire version 99; this member speaks 1"),
    (HELLO + frame(0, b"\x80"), "unknown kind of message 0"),
    (HELLO + frame(255, b"\x80"), "unknown kind of message 255"),
    (frame(1, b"\x80"), "an array of 7 was expected"),
    (HELLO + frame(4, b""), ""),
    (HELLO + frame(4, b"\xff"), ""),
    (HELLO + frame(5, b"\x81" * 100_000), ""),
    (HELLO + frame(5, b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff"), ""),
    (HELLO + frame(5, b"\x5b\x00\x00\x00\xff\xff\xff\xff\xff"), ""),
    (HELLO + frame(4, b"\x9f\xff"), ""),
    (HELLO + frame(4, b"\xd8\x1c\x80"), ""),
    (HELLO + frame(6, b"\x81\xc2\x48" + bytes([255]) * 8), ""),
    (HELLO + frame(5, cbor2.dumps([1, [0, "/", b"short", 1, STRANGER]])), ""),
)
"""What is said on a link, and what the log says about it then."""


def test_who_has_the_secret_must_speak_properly(scene: Scene) -> None:
    for number, (spoken, reason) in enumerate(IMPROPER, start=1):
        with closing(scene.let_in()) as link:
            source = Address(*link.getsockname())
            link.sendall(spoken)
            rest_of(link)

        scene.until_said(f"Link with {source} closed: {reason}")
        assert scene.victim.metrics.links_refused == number, reason
        assert scene.home.problems == [], reason


def test_the_member_s_own_name_is_refused(scene: Scene) -> None:
    me = scene.victim.member.node.me
    with closing(scene.let_in(me.id)) as link:
        source = Address(*link.getsockname())
        link.sendall(hello(me.id, me.address))
        rest_of(link)

    scene.until_said(f"Link with {source} closed: this is our own receiver")


def some_value(rng: random.Random, depth: int = 0) -> Any:
    """Return a random value, such as messages have, and such as they never have."""
    kind = rng.randrange(12 if depth < 4 else 9)
    match kind:
        case 0:
            return rng.choice([None, True, False, 1.5, float("nan"), -1, 2**64 - 1, 2**70])
        case 1 | 2:
            return rng.randrange(2 ** rng.choice([3, 8, 32, 64]))
        case 3 | 4:
            return rng.randbytes(rng.choice([0, 8, 12, 16, 300]))
        case 5:
            return STRANGER
        case 6:
            return rng.choice(["/", "a", "\0secret", "\0limits", "\0", "é" * 300, ""])
        case 7:
            return bytes(12)
        case 8:
            return rng.choice([0, 1, 2])
        case _:
            return [some_value(rng, depth + 1) for _ in range(rng.randrange(9))]


def some_body(rng: random.Random, kind: int) -> bytes:
    """Return a random body: any CBOR, or one that fits its kind at first sight."""
    if rng.random() < 0.3:
        return cbor2.dumps(some_value(rng))
    lengths = {1: 7, 2: 1, 3: 0, 4: 0, 6: 1, 7: 1, 8: 1, 9: 2, 10: 2, 11: 4, 12: 5, 13: 2, 14: 1}
    length = lengths.get(kind, rng.randrange(1, 6))
    return cbor2.dumps([some_value(rng, 1) for _ in range(length)])


def has_no_link(scene: Scene, member: bytes) -> bool:
    return member not in scene.victim.member.node.membership.link_of


def test_any_cbor_from_who_has_the_secret(scene: Scene) -> None:
    rng = random.Random(2026)
    for number in range(120):
        # Who has said goodbye does not get in again under the same id.
        stranger = number.to_bytes(8, "big")
        link = scene.introduced(stranger) if number % 3 else scene.let_in(stranger)
        with closing(link):
            for _ in range(rng.randrange(1, 6)):
                kind = rng.choice([*KINDS, 0, 99])
                try:
                    link.sendall(frame(kind, some_body(rng, kind)))
                except OSError:
                    break
        until(partial(has_no_link, scene, stranger), "the link has ended")
        assert scene.home.problems == []


KEY = Key("/", bytes(11) + b"\xff")
BORN = Stamp(1, STRANGER)
LATEST = 2**63
AGES_S = 2**63 / 1000


def stream(hlc: int, since: int, writes: dict[str, bytes | None], age_s: float = 0.0) -> Delta:
    """Return a delta of the stranger's."""
    attributes = {name: Write(hlc, STRANGER, REGISTER, value) for name, value in writes.items()}
    return Delta(KEY, BORN, since, {STRANGER: hlc}, attributes, age_s, BORN, 0.0)


def whole(
    writes: dict[str, bytes | None], piece: Piece | None = None, idle_s: float = 0.0
) -> Delta:
    """Return a record of the stranger's."""
    attributes = {name: Write(9, STRANGER, REGISTER, value) for name, value in writes.items()}
    version = {STRANGER: LATEST, OTHER: 1}
    return Delta(KEY, BORN, None, version, attributes, AGES_S, BORN, idle_s, piece=piece)


STRANGE = (
    stream(LATEST, 5, {"a": b"\x01"}),
    stream(2, LATEST, {"a": None}, AGES_S),
    stream(3, 2, {"a": b"\xff\xff no cbor", "b": b""}),
    stream(4, 3, {f"name {number}": b"\x01" for number in range(2000)}),
    stream(5, 4, {"\0secret": b"short", "\0limits": b"\x82\xf9\x7e\x00\xf9\xfc\x00"}),
    whole({"a": b"\x01"}, Piece(1, 2, 3)),
    whole({"a": b"\x01"}, Piece(1, 0, 3)),
    whole({"a": b"\x01"}, Piece(2, 0, 2**31)),
    whole({"a": b"\x01"}, idle_s=AGES_S),
    whole({"\0limits": b"\x82\x20\x20"}),
    Delta(
        KEY, BORN, None, {}, {}, 0.0, BORN, 0.0, destroyed=Stamp(LATEST, OTHER), destroyed_age_s=1.0
    ),
    stream(7, 6, {"a": b"\x01"}),
)
"""Well-formed, and what no member of ours would send."""
NONSENSE: tuple[m.Message, ...] = (
    m.Acknowledge(77),
    m.Acknowledge(1, (KEY,) * 1000),
    m.Urge(),
    m.Urge(),
    m.RecordInquiry(1, (KEY,)),
    m.RecordInquiry(1, (KEY,) * 1000),
    m.RecordAnswer(1, (KEY,) * 1000, ()),
    m.RecordAnswer(1, (), STRANGE),
    m.RepairAnswer(7, (0, 255)),
    m.LeafDigests(7, 1, 3, {0: {0: 5}, 255: {}}),
    m.RecordDigests(7, 1, 9, (0,), {KEY: 5}),
    m.RepairRequest(7, 2, (KEY,) * 3, STRANGE),
    m.RepairRecords(7, 2, (KEY,), STRANGE),
    m.RecordRequest((KEY,) * 1000),
    m.Accesses((m.Access(KEY, BORN, 1.0),)),
    m.StateChunk(9, 1, 256, ()),
    m.StateCredit(9, 1),
    m.StateCredit(9, 2**64 - 1),
    m.StateRefused(9),
    m.StateEnd(9, 3, 1, {OTHER: 5}),
    m.StateEnd(2**64 - 1, 2**64 - 1, 2**64 - 1, {}),
    m.StateRequest(1, 0),
    m.StateRequest(1, 0),
    m.Status(False),
    m.Status(True),
    m.Deltas(1, ()),
    m.Deltas(1, ()),
    m.RepairOffer(3, tuple(range(256))),
    m.RepairAnswer(3, ()),
    *(m.Deltas(number, (delta,)) for number, delta in enumerate(STRANGE, start=2)),
    m.StateChunk(1, 1, 0, STRANGE),
    m.Deltas(2**64 - 1, STRANGE[::-1]),
    m.ProbeAnswer(2**64 - 1),
    m.Probe(2**64 - 1),
    m.Inquiry(OTHER),
    m.Inquiry(STRANGER),
    m.Testimony(OTHER, 0),
    m.Testimony(STRANGER, 2**64 - 1),
    m.Neighbours(()),
    m.Neighbours(tuple(m.Neighbour(OTHER, "", 0, Address("\0", 1)) for _ in range(1000))),
)
"""Well-formed, and an answer to nothing that was asked."""


def test_answers_that_nobody_asked_for(scene: Scene) -> None:
    for number, messages in enumerate((NONSENSE, NONSENSE[::-1], NONSENSE * 20)):
        with closing(scene.introduced(bytes([number]) * 8)) as link:
            link.sendall(b"".join(encode(message) for message in messages))
            link.sendall(encode(m.Goodbye()) + encode(m.Ping()))
            rest_of(link)
        assert scene.home.problems == []


def test_a_frame_in_drops_and_a_flood_of_frames(scene: Scene) -> None:
    with closing(scene.let_in()) as link:
        for octet in HELLO:
            link.sendall(bytes([octet]))
        until(lambda: STRANGER in scene.victim.member.node.membership.link_of, "the stranger is up")
        link.sendall(encode(m.Ping()) * 50_000)
        link.sendall(encode(m.RecordRequest((KEY,))) * 2_000)
        link.sendall(encode(m.Goodbye()))
        rest_of(link)


def has_failed(membership: Membership, member: bytes) -> bool:
    candidate = membership.candidates.get(member)
    return candidate is not None and candidate.failures > 1


def test_a_host_that_is_none_is_dialled_in_vain(scene: Scene) -> None:
    membership = scene.victim.member.node.membership
    hosts = ("." * 100, "x" * 200, "", "\0", "999.1.1.1", "é\u2603")
    members = [bytes([number]) * 8 for number in range(1, len(hosts) + 1)]
    for member, host in zip(members, hosts, strict=True):
        with closing(scene.introduced(member, Address(host, 4000))):
            pass

    for member, host in zip(members, hosts, strict=True):
        until(partial(has_failed, membership, member), f"{host!r} is dialled again and again")
        until(lambda member=member: member not in membership.view, "and gone after a while")  # type: ignore[misc]


def test_one_who_opens_links_without_end_gets_so_many(
    loop_host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "replsession")
    scene = Scene(loop_host, caplog)
    limits = Limits(links_max=6)
    settings = replace(scene.settings, node=NodeConfig(limits, replace(QUICK, hello_timeout_s=5)))
    scene.victim = loop_host.started(settings)
    scene.until_met(scene.good)

    links = [scene.let_in(bytes([number]) * 8) for number in range(1, 10)]

    for link in links[-3:]:
        rest_of(link)
    scene.until_said("closes: too many links")
    assert len(scene.victim.member.node.membership.links) <= limits.links_max
    for link in links:
        link.close()
    until(lambda: len(scene.victim.member.node.membership.links) == 2, "the good ones are left")


def test_what_raises_inside_closes_the_link_alone(
    loop_host: Host, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = Scene(loop_host, caplog)
    node = scene.victim.member.node
    received = node.bytes_received

    def broken(link: int, data: bytes, now: float) -> None:
        if node.membership.link_of.get(STRANGER) == link:
            raise KeyError("a fault of our own")
        received(link, data, now)

    with closing(scene.introduced()) as link:
        with monkeypatch.context() as patched:
            patched.setattr(node, "bytes_received", broken)
            link.sendall(encode(m.RecordRequest((KEY,))))
            rest_of(link)
    until(lambda: scene.home.problems, "the loop was told")
    scene.home.problems.clear()
    scene.assert_serving()
    scene.assert_somebody_can_join()


def test_the_loop_handler_sees_what_a_task_raises() -> None:
    home = Home(asyncio.new_event_loop)
    task: Callable[[], object] = lambda: 1 / 0  # noqa: E731
    home.loop.call_soon_threadsafe(task)
    until(lambda: home.problems, "seen")
    home.close()
