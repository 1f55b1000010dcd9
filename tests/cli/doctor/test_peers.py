"""Who answers at a receiver's address."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from replsession.channel.tls import LinkSecurity
from replsession.cli.doctor.facts import Peer
from replsession.cli.doctor.peers import dial, dial_all, whose
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
    told = dial(Address("no-such-host.invalid", 4000), "asked", KEYS, "shop")
    assert (told.host, told.answer) == ("no-such-host.invalid", "unreachable")


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
