"""
Who answers at a receiver's address: one connection, one handshake, no certificate of our own.

The other end shows its certificate before it judges ours, so it can be told whether it is of this
cluster, of another name, or of another secret, without becoming a member.

*Source*: RFC 8446 (figure 1: the server's certificate comes in its first flight).
"""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from cryptography import x509

from replsession.channel.tls import PROTOCOL
from replsession.cli.doctor.facts import Peer
from replsession.cli.doctor.system import has_no_neighbour
from replsession.identity import Address
from replsession.security.certificates import CertificateAuthority, server_hostname
from replsession.security.keys import ClusterKeys

CONNECT_TIMEOUT_S: Final = 2.0
"""A host of the same network answers within milliseconds; two lost segments are made good."""
AT_ONCE_MAX: Final = 16
PEERS_MAX: Final = 64
"""Receivers dialled in one look, as many as a cluster may have members."""

ADDRESSES_MAX: Final = 16
"""Addresses of one name that are dialled."""

_ANSWERS: Final = {errno.ECONNREFUSED: "refused", errno.ENETUNREACH: "no route"}
_HOSTNAME_SUFFIX: Final = ".replsession.invalid"


def dial_all(
    wanted: Sequence[tuple[Address, str]], keys: ClusterKeys, name: str
) -> tuple[Peer, ...]:
    """
    Dial receivers, several at once, and return what each answered.

    Args:
        wanted: Addresses, and why (see ``Peer.why``).
        keys: Of the cluster that was asked about.
        name: Its name.
    """
    found, unknown = resolved(wanted)
    with ThreadPoolExecutor(AT_ONCE_MAX) as threads:
        dialled = [
            threads.submit(dial, address, why, keys, name) for address, why in found[:PEERS_MAX]
        ]
        return (*(one.result() for one in dialled), *unknown)


def resolved(
    wanted: Sequence[tuple[Address, str]],
) -> tuple[list[tuple[Address, str]], list[Peer]]:
    """Return all addresses of receivers that are named, and those that have none."""
    found: dict[Address, str] = {}
    unknown = []
    for (host, port), why in wanted:
        try:
            told = socket.getaddrinfo(host, port, socket.AF_INET, socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            unknown.append(Peer(host, port, why, "no name"))
            continue
        for _, _, _, _, address in told[:ADDRESSES_MAX]:
            found.setdefault(Address(str(address[0]), port), why)
    return list(found.items()), unknown


def dial(address: Address, why: str, keys: ClusterKeys, name: str) -> Peer:
    """Dial one receiver."""
    try:
        connection = socket.create_connection(address, CONNECT_TIMEOUT_S)
    except OSError as error:
        return Peer(*address, why, _failed(error, address.host))
    with connection:
        return Peer(*address, why, "open", _who_speaks(connection, keys, name))


def _failed(error: OSError, host: str) -> str:
    if (error.errno or 0) in _ANSWERS:
        return _ANSWERS[error.errno or 0]
    if has_no_neighbour(host):
        return "no host"
    return "silent" if isinstance(error, TimeoutError) else "unreachable"


def whose(certificate: bytes, keys: ClusterKeys, name: str) -> str:
    """Return whose a member's certificate is: ``ours``, ``other secret`` or ``other name``."""
    try:
        extensions = x509.load_der_x509_certificate(certificate).extensions
        names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        issuer = extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    except Exception:  # noqa: BLE001 - whatever a parser objects to, it is no member's
        return "other program"
    hosts = names.get_values_for_type(x509.DNSName)
    if not any(host.endswith(_HOSTNAME_SUFFIX) for host in hosts):
        return "other program"
    if server_hostname(name) not in hosts:
        return "other name"
    authority = x509.load_der_x509_certificate(CertificateAuthority(keys.ca_seed, name).der)
    own = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return "ours" if issuer.key_identifier == own.digest else "other secret"


def _who_speaks(connection: socket.socket, keys: ClusterKeys, name: str) -> str:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols([PROTOCOL])
    try:
        with context.wrap_socket(connection) as secured:
            certificate = secured.getpeercert(binary_form=True)
            protocol = secured.selected_alpn_protocol()
    except TimeoutError:
        return "nothing"
    except (OSError, ValueError):
        return "other program"
    speaks = whose(certificate or b"", keys, name)
    return "other version" if speaks == "ours" and protocol != PROTOCOL else speaks
