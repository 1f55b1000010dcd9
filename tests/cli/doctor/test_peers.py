"""Who answers at a receiver's address."""

from __future__ import annotations

import errno
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from replsession.channel import tls
from replsession.channel.tls import LinkSecurity
from replsession.cli.doctor import peers
from replsession.cli.doctor.facts import Peer
from replsession.cli.doctor.peers import dial, dial_all, resolved, whose
from replsession.identity import Address
from replsession.security.certificates import CertificateAuthority
from replsession.security.keys import ClusterKeys
from tests.cluster.processes import free_ports

SECRET = "a secret of this test alone, 0123456789"
KEYS = ClusterKeys(SECRET, "shop")
OTHER_SECRET = ClusterKeys("another secret of this test, 0123456789", "shop")
OTHER_NAME = ClusterKeys(SECRET, "office")


@contextmanager
def receiver(keys: ClusterKeys | None, name: str) -> Iterator[tuple[Address, list[str]]]:
    """Serve one connection as a member does, or say hello without TLS; yield what went wrong."""
    said: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                if keys is None:
                    connection.sendall(b"220 hello\r\n")
                    return
                context = LinkSecurity(keys, name, b"abcdefgh").server_context
                try:
                    with context.wrap_socket(connection, server_side=True) as secured:
                        secured.recv(1)
                    said.append("let in")
                except ssl.SSLError as error:
                    said.append(error.reason or "refused")

        thread = threading.Thread(target=serve)
        thread.start()
        yield Address(*listening.getsockname()), said
        thread.join(30)
        assert not thread.is_alive()


@pytest.mark.parametrize(
    ("keys", "name", "speaks"),
    [
        (KEYS, "shop", "ours"),
        (OTHER_SECRET, "shop", "other secret"),
        (OTHER_NAME, "office", "other name"),
        (None, "", "other program"),
    ],
)
def test_who_speaks_is_told(keys: ClusterKeys | None, name: str, speaks: str) -> None:
    with receiver(keys, name) as (address, said):
        told = dial(address, "asked", KEYS, "shop")
    assert told == Peer(*address, "asked", "open", speaks)
    # We showed no certificate, so we were never let in.
    assert said == ([] if keys is None else ["PEER_DID_NOT_RETURN_A_CERTIFICATE"])


def test_nobody_listens() -> None:
    (port,) = free_ports(1)
    address = Address("127.0.0.1", port)
    assert dial(address, "heartbeat", KEYS, "shop") == Peer(*address, "heartbeat", "refused")


def test_a_name_that_is_not_found() -> None:
    (told,) = dial_all([(Address("no-such-host.invalid", 4000), "asked")], KEYS, "shop")
    assert told == Peer("no-such-host.invalid", 4000, "asked", "no name")


def test_all_addresses_of_a_name_are_dialled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def getaddrinfo(host: str, port: int, *_: Any) -> list[Any]:
        return [(0, 0, 0, "", (address, port)) for address in ("127.0.0.2", "127.0.0.3")]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    found, unknown = resolved([(Address("members", 9), "seed"), (Address("again", 9), "asked")])
    assert found == [(Address("127.0.0.2", 9), "seed"), (Address("127.0.0.3", 9), "seed")]
    assert unknown == []


def test_who_takes_a_connection_and_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "CONNECT_TIMEOUT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = Address(*listening.getsockname())
        assert dial(address, "asked", KEYS, "shop") == Peer(*address, "asked", "open", "nothing")


def test_another_version_of_the_protocol(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls, "PROTOCOL", "replsession/2")
    with receiver(KEYS, "shop") as (address, _):
        assert dial(address, "asked", KEYS, "shop").speaks == "other version"


@pytest.mark.parametrize(
    ("error", "neighbour", "answer"),
    [
        (OSError(errno.ECONNREFUSED, ""), True, "refused"),
        (OSError(errno.ENETUNREACH, ""), True, "no route"),
        (OSError(errno.EHOSTUNREACH, ""), True, "unreachable"),
        (OSError(errno.EHOSTUNREACH, ""), False, "no host"),
        (TimeoutError(), True, "silent"),
        (TimeoutError(), False, "no host"),
    ],
)
def test_errors_have_names(
    error: OSError, neighbour: bool, answer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def create_connection(*_: Any) -> Any:
        raise error

    monkeypatch.setattr(socket, "create_connection", create_connection)
    monkeypatch.setattr(peers, "has_no_neighbour", lambda _: not neighbour)
    assert dial(Address("10.0.0.2", 4000), "asked", KEYS, "shop").answer == answer


def test_answers_stand_in_the_order_of_the_questions() -> None:
    ports = free_ports(3)
    wanted = [(Address("127.0.0.1", port), "asked") for port in ports]
    assert [peer.port for peer in dial_all(wanted, KEYS, "shop")] == ports
    assert dial_all([], KEYS, "shop") == ()


@pytest.mark.parametrize(
    "certificate", [b"", b"\x30\x00", CertificateAuthority(bytes(32), "x").der]
)
def test_what_is_no_members_certificate(certificate: bytes) -> None:
    assert whose(certificate, KEYS, "shop") == "other program"
