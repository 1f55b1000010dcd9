"""Who gets a link and who does not, with real sockets on both kinds of event loop."""

from __future__ import annotations

import asyncio
import os
import ssl
import stat
import tempfile
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn, TypeVar, cast

import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from replsession.channel.addresses import listen
from replsession.channel.tls import PROTOCOL, LinkSecurity, member_of_peer
from replsession.identity import MemberId
from replsession.security.certificates import CertificateAuthority, MemberCertificate
from replsession.security.keys import ClusterKeys

SECRET = "k2Vd9-mQx7RtY4bLw1ZpN8sHc5JfG3aU_eXo6TiBrDy"
OTHER_SECRET = "Z9fQ1xYv7LmC3sKd8TgB2wNhR5pJ6uEa-4oViXqMz0c"
SERVER = bytes.fromhex("5e5e5e5e5e5e5e5e")
CLIENT = bytes.fromhex("c1c1c1c1c1c1c1c1")
HANDSHAKE_TIMEOUT_S = 20.0

Result = TypeVar("Result")
Run = Callable[[Coroutine[Any, Any, Result]], Result]


def security(member: bytes, secret: str = SECRET, cluster: str = "shop") -> LinkSecurity:
    return LinkSecurity(ClusterKeys(secret, cluster), cluster, member)


@pytest.fixture(scope="module")
def server() -> LinkSecurity:
    return security(SERVER)


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run[Any]:
    def run_it(work: Coroutine[Any, Any, Result]) -> Result:
        with asyncio.Runner(loop_factory=request.param) as runner:
            return runner.run(work)

    return run_it


class End(asyncio.Protocol):
    """One end of a link: says its words when it is connected, and keeps what it hears."""

    def __init__(self, words: bytes) -> None:
        self.words = words
        self.connected = False
        self.heard = b""
        self.member: MemberId | None = None
        self.version: str | None = None
        self.protocol: str | None = None
        self.over = asyncio.get_running_loop().create_future()
        self.answered = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.connected = True
        ssl_object = transport.get_extra_info("ssl_object")
        self.member = member_of_peer(ssl_object)
        self.version = ssl_object.version()
        self.protocol = ssl_object.selected_alpn_protocol()
        cast(asyncio.WriteTransport, transport).write(self.words)

    def data_received(self, data: bytes) -> None:
        self.heard += data
        if not self.answered.done():
            self.answered.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        self.over.set_result(error)


@dataclass
class Meeting:
    """What became of one attempt to connect."""

    accepted: End
    dialled: End
    refused_by_server: Exception | None = None
    refused_by_client: Exception | None = None


async def meet(
    server_context: ssl.SSLContext, client_context: ssl.SSLContext, server_hostname: str
) -> Meeting:
    """Connect a client to a server over loopback and wait until it is clear who heard what."""
    loop = asyncio.get_running_loop()
    meeting = Meeting(End(b"words of the server"), End(b"words of the client"))
    with listen("127.0.0.1", 0, 1, 5) as listening:

        async def accept() -> asyncio.BaseTransport | None:
            connection, _ = await loop.sock_accept(listening)
            try:
                transport, _ = await loop.connect_accepted_socket(
                    lambda: meeting.accepted,
                    connection,
                    ssl=server_context,
                    ssl_handshake_timeout=HANDSHAKE_TIMEOUT_S,
                )
            except (OSError, ssl.SSLError) as error:
                meeting.refused_by_server = error
                return None
            return transport

        async def dial() -> asyncio.BaseTransport | None:
            try:
                transport, _ = await loop.create_connection(
                    lambda: meeting.dialled,
                    *listening.getsockname(),
                    ssl=client_context,
                    server_hostname=server_hostname,
                )
            except (OSError, ssl.SSLError) as error:
                meeting.refused_by_client = error
                return None
            return transport

        transports = await asyncio.gather(accept(), dial())
        if None not in transports:
            await asyncio.gather(meeting.accepted.answered, meeting.dialled.answered)
        for transport in transports:
            if transport is not None:
                transport.close()
        # A refused client may have been told "connected"; it learns of the refusal at the end.
        await asyncio.gather(
            *(end.over for end in (meeting.accepted, meeting.dialled) if end.connected)
        )
    return meeting


def assert_nobody_was_let_in(meeting: Meeting) -> None:
    assert meeting.refused_by_server is not None
    assert not meeting.accepted.connected
    assert meeting.accepted.heard == b""
    assert meeting.dialled.heard == b""


def unverifying(versions: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLContext:
    """Make a client that would talk to anybody, as an attacker does."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = versions
    context.maximum_version = versions
    context.set_alpn_protocols([PROTOCOL])
    return context


def with_certificate(context: ssl.SSLContext, pem: bytes, folder: Path) -> ssl.SSLContext:
    file = folder / "certificate.pem"
    file.write_bytes(pem)
    context.load_cert_chain(file)
    return context


def own_certificate(secret: str = SECRET, cluster: str = "shop") -> MemberCertificate:
    authority = CertificateAuthority(ClusterKeys(secret, cluster).ca_seed, cluster)
    return authority.issue(CLIENT)


def forged(issuer: x509.Name, signed_by: Ed25519PrivateKey) -> bytes:
    """Return certificate and key of a would-be member, signed with a key of the attacker's."""
    key = Ed25519PrivateKey.generate()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, CLIENT.hex())])
    names = [x509.UniformResourceIdentifier("replsession:member:" + CLIENT.hex())]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(datetime(2000, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(9999, 12, 31, tzinfo=UTC))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signed_by.public_key()),
            critical=False,
        )
        .sign(signed_by, None)
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return certificate.public_bytes(Encoding.PEM) + private


def test_members_with_one_secret_get_a_link(server: LinkSecurity, run: Run[Meeting]) -> None:
    client = security(CLIENT)

    meeting = run(meet(server.server_context, client.client_context, client.server_hostname))

    assert (meeting.refused_by_server, meeting.refused_by_client) == (None, None)
    assert meeting.accepted.heard == b"words of the client"
    assert meeting.dialled.heard == b"words of the server"
    assert (meeting.accepted.member, meeting.dialled.member) == (CLIENT, SERVER)
    for end in (meeting.accepted, meeting.dialled):
        assert end.version == "TLSv1.3"
        assert end.protocol == "replsession/1"


def test_one_member_may_dial_itself(server: LinkSecurity, run: Run[Meeting]) -> None:
    meeting = run(meet(server.server_context, server.client_context, server.server_hostname))

    assert meeting.accepted.member == SERVER


@pytest.mark.parametrize(
    ("secret", "cluster"),
    [(OTHER_SECRET, "shop"), (SECRET, "staging")],
    ids=["other secret", "other cluster name"],
)
def test_a_stranger_refuses_and_is_refused(
    server: LinkSecurity, run: Run[Meeting], secret: str, cluster: str, tmp_path: Path
) -> None:
    stranger = security(CLIENT, secret, cluster)
    meeting = run(meet(server.server_context, stranger.client_context, server.server_hostname))
    assert_nobody_was_let_in(meeting)
    assert isinstance(meeting.refused_by_client, ssl.SSLCertVerificationError)

    careless = with_certificate(unverifying(), own_certificate(secret, cluster).pem(), tmp_path)
    meeting = run(meet(server.server_context, careless, server.server_hostname))
    assert_nobody_was_let_in(meeting)
    assert isinstance(meeting.refused_by_server, ssl.SSLError)


def test_without_a_certificate_nobody_is_let_in(server: LinkSecurity, run: Run[Meeting]) -> None:
    assert_nobody_was_let_in(
        run(meet(server.server_context, unverifying(), server.server_hostname))
    )


def test_tls_1_2_is_refused_even_with_the_secret(
    server: LinkSecurity, run: Run[Meeting], tmp_path: Path
) -> None:
    old = with_certificate(unverifying(ssl.TLSVersion.TLSv1_2), own_certificate().pem(), tmp_path)

    assert_nobody_was_let_in(run(meet(server.server_context, old, server.server_hostname)))


def test_a_certificate_signed_with_a_stolen_one_is_refused(
    server: LinkSecurity, run: Run[Meeting], tmp_path: Path
) -> None:
    stolen = own_certificate()
    pem = forged(stolen.certificate.subject, stolen.key)
    chain = pem + stolen.certificate.public_bytes(Encoding.PEM)
    thief = with_certificate(unverifying(), chain, tmp_path)

    assert_nobody_was_let_in(run(meet(server.server_context, thief, server.server_hostname)))


def test_the_authority_s_name_without_its_key_is_refused(
    server: LinkSecurity, run: Run[Meeting], tmp_path: Path
) -> None:
    authority_name = own_certificate().certificate.issuer
    impostor = with_certificate(
        unverifying(), forged(authority_name, Ed25519PrivateKey.generate()), tmp_path
    )

    assert_nobody_was_let_in(run(meet(server.server_context, impostor, server.server_hostname)))


def test_the_forged_certificates_fail_for_their_signature_alone(
    server: LinkSecurity, run: Run[Meeting], tmp_path: Path
) -> None:
    seed = ClusterKeys(SECRET, "shop").ca_seed
    pem = forged(own_certificate().certificate.issuer, Ed25519PrivateKey.from_private_bytes(seed))
    genuine = with_certificate(unverifying(), pem, tmp_path)

    meeting = run(meet(server.server_context, genuine, server.server_hostname))

    assert meeting.accepted.member == CLIENT


def test_a_server_of_another_name_is_refused(server: LinkSecurity, run: Run[Meeting]) -> None:
    client = security(CLIENT)

    meeting = run(meet(server.server_context, client.client_context, "other.replsession.invalid"))

    assert_nobody_was_let_in(meeting)
    assert "Hostname mismatch" in str(meeting.refused_by_client)


def test_a_server_without_the_secret_is_told_nothing(run: Run[Meeting]) -> None:
    impostor = security(SERVER, OTHER_SECRET).server_context
    impostor.verify_mode = ssl.CERT_NONE
    client = security(CLIENT)

    meeting = run(meet(impostor, client.client_context, client.server_hostname))

    assert isinstance(meeting.refused_by_client, ssl.SSLCertVerificationError)
    assert not meeting.dialled.connected
    assert meeting.accepted.heard == b""


@pytest.mark.parametrize(
    "spoken", [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"SSH-2.0-x\r\n", bytes(5000), b""]
)
def test_what_is_not_tls_is_refused(
    server: LinkSecurity, run: Run[tuple[End, bool]], spoken: bytes
) -> None:
    async def speak() -> tuple[End, bool]:
        loop = asyncio.get_running_loop()
        end = End(b"words of the server")
        with listen("127.0.0.1", 0, 1, 5) as listening:
            _, writer = await asyncio.open_connection(*listening.getsockname())
            connection, _ = await loop.sock_accept(listening)
            writer.write(spoken)
            writer.write_eof()
            refused = False
            try:
                await loop.connect_accepted_socket(
                    lambda: end,
                    connection,
                    ssl=server.server_context,
                    ssl_handshake_timeout=HANDSHAKE_TIMEOUT_S,
                )
            except (OSError, ssl.SSLError):
                refused = True
            writer.close()
        return end, refused

    end, refused = run(speak())

    assert refused
    assert not end.connected
    assert end.heard == b""


def test_the_contexts_trust_one_authority_and_only_tls_1_3(server: LinkSecurity) -> None:
    for context in (server.server_context, server.client_context):
        assert context.cert_store_stats() == {"x509": 1, "crl": 0, "x509_ca": 1}
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.verify_flags & ssl.VERIFY_X509_STRICT
        assert context.minimum_version is ssl.TLSVersion.TLSv1_3
        assert context.maximum_version is ssl.TLSVersion.TLSv1_3
    assert server.client_context.check_hostname
    assert server.server_context.num_tickets == 0


def test_no_keys_are_logged(
    run: Run[Meeting], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
    assert ssl.create_default_context().keylog_filename is not None
    (tmp_path / "keys").unlink()
    own = security(SERVER)

    meeting = run(meet(own.server_context, own.client_context, own.server_hostname))

    assert meeting.accepted.connected
    assert own.server_context.keylog_filename is None
    assert own.client_context.keylog_filename is None
    assert not (tmp_path / "keys").exists()


def test_the_key_touches_no_disk_and_leaves_no_descriptor(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if not hasattr(os, "memfd_create"):
        pytest.skip("this system has no memfd_create")

    def no_file(*_: object, **__: object) -> NoReturn:
        raise AssertionError("a temporary file was made")

    security(SERVER)
    monkeypatch.setattr(tempfile, "NamedTemporaryFile", no_file)
    before = len(os.listdir("/proc/self/fd"))

    security(SERVER)

    assert len(os.listdir("/proc/self/fd")) == before


def without_memory_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "memfd_create", raising=False)


def with_memory_files_forbidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(name: str) -> NoReturn:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "memfd_create", forbidden, raising=False)


def without_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    load = ssl.SSLContext.load_cert_chain

    def from_disk_only(self: ssl.SSLContext, certfile: str, **options: Any) -> None:
        if certfile.startswith("/proc/"):
            raise FileNotFoundError(2, "No such file or directory")
        load(self, certfile, **options)

    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", from_disk_only)


@pytest.mark.parametrize(
    "restrict", [without_memory_files, with_memory_files_forbidden, without_proc]
)
def test_elsewhere_the_key_is_on_disk_encrypted_and_only_while_it_is_loaded(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    run: Run[Meeting],
    restrict: Callable[[pytest.MonkeyPatch], None],
) -> None:
    restrict(monkeypatch)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    seen: list[tuple[int, bytes]] = []
    load = ssl.SSLContext.load_cert_chain

    def watched(self: ssl.SSLContext, certfile: str, **options: Any) -> None:
        if not certfile.startswith("/proc/"):
            mode = stat.S_IMODE(os.stat(certfile).st_mode)
            seen.append((mode, Path(certfile).read_bytes()))
        load(self, certfile, **options)

    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", watched)
    own = security(SERVER)

    assert os.listdir(tmp_path) == []
    assert len(seen) == 2
    for mode, content in seen:
        assert mode == 0o600
        assert b"BEGIN ENCRYPTED PRIVATE KEY" in content
        assert b"BEGIN PRIVATE KEY" not in content
    meeting = run(meet(own.server_context, own.client_context, own.server_hostname))
    assert meeting.accepted.member == SERVER


def test_before_the_handshake_there_is_no_member(server: LinkSecurity) -> None:
    unfinished = server.server_context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_side=True)

    assert member_of_peer(unfinished) is None


def test_a_peer_without_a_certificate_is_no_member(run: Run[Meeting]) -> None:
    open_to_all = security(SERVER)
    open_to_all.server_context.verify_mode = ssl.CERT_NONE

    meeting = run(meet(open_to_all.server_context, unverifying(), open_to_all.server_hostname))

    assert meeting.accepted.connected
    assert meeting.accepted.member is None
