"""
TLS 1.3 between members: both ends show a certificate of the authority that the secret makes.

1. Nobody is trusted but the one derived authority: no system store is ever loaded.
2. Contexts are built from ``SSLContext`` itself, never with ``create_default_context``, which
   would write all keys of a session to the file that ``SSLKEYLOGFILE`` names.
3. No session tickets: each link proves both certificates again.
4. The private key touches no disk where the system allows it.

In TLS 1.3 the dialling end is told "connected" before the other end has judged its certificate, so
a link counts for nothing until a HELLO has come back over it.

*Source*: RFC 8446 (4.4.2.4: the server judges after the client's flight); RFC 7301 (ALPN).
"""

from __future__ import annotations

import os
import secrets
import ssl
import tempfile
from collections.abc import Iterable
from typing import Final

from replsession.identity import MemberId
from replsession.security.certificates import (
    CertificateAuthority,
    MemberCertificate,
    member_of,
)
from replsession.security.keys import ClusterKeys

PROTOCOL: Final = "replsession/1"
"""What both ends name in ALPN."""


class LinkSecurity:
    """
    What a member needs for its links: one context for each end, and the name to verify.

    Building it costs about 5 ms and makes a fresh private key, so it is built when the channel
    starts, and again in a forked process.

    Args:
        keys: Keys of the cluster.
        cluster: Name of the cluster, the one that the keys were made for.
        member_id: 8 bytes, the member that the certificate names.
    """

    __slots__ = ("client_context", "server_context", "server_hostname")

    def __init__(self, keys: ClusterKeys, cluster: str, member_id: MemberId) -> None:
        authority = CertificateAuthority(keys.ca_seed, cluster)
        self.server_hostname: Final = authority.server_hostname
        self.server_context: Final = _context(ssl.PROTOCOL_TLS_SERVER, authority.der)
        self.server_context.num_tickets = 0
        self.client_context: Final = _context(ssl.PROTOCOL_TLS_CLIENT, authority.der)
        own = authority.issue(member_id)
        _load_certificate(own, (self.server_context, self.client_context))


def member_of_peer(ssl_object: ssl.SSLObject | ssl.SSLSocket) -> MemberId | None:
    """
    Return the member that the other end's certificate names.

    None, if it names none or the handshake is not over: such a link must be closed.
    """
    try:
        certificate = ssl_object.getpeercert(binary_form=True)
    except ValueError:
        return None
    return None if certificate is None else member_of(certificate)


def _context(purpose: int, authority: bytes) -> ssl.SSLContext:
    context = ssl.SSLContext(purpose)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.maximum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    context.load_verify_locations(cadata=authority)
    context.set_alpn_protocols([PROTOCOL])
    return context


def _load_certificate(own: MemberCertificate, contexts: Iterable[ssl.SSLContext]) -> None:
    """Give certificate and key to the contexts, which take them from a named file only."""
    try:
        _load_from_memory(own, contexts)
    except (AttributeError, OSError):
        # No memfd_create (not Linux, or forbidden), or no /proc to name it by.
        _load_from_file(own, contexts)


def _load_from_memory(own: MemberCertificate, contexts: Iterable[ssl.SSLContext]) -> None:
    descriptor = os.memfd_create("replsession")
    with open(descriptor, "wb") as file:
        file.write(own.pem())
        file.flush()
        for context in contexts:
            context.load_cert_chain(f"/proc/self/fd/{descriptor}")


def _load_from_file(own: MemberCertificate, contexts: Iterable[ssl.SSLContext]) -> None:
    password = secrets.token_bytes(32).hex().encode("ascii")
    with tempfile.NamedTemporaryFile(prefix="replsession-") as file:
        file.write(own.pem(password))
        file.flush()
        for context in contexts:
            context.load_cert_chain(file.name, password=password)
