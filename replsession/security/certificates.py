"""
The authority that every member derives for itself, and the certificate it gives to its member.

A cluster has no shared disk and no coordinator, only its secret. So the private key of the
certificate authority *is* a derivation of the secret: each member makes the same authority, byte
for byte, signs a certificate for a fresh key of its own, and keeps both in memory.

Validity is fixed (2000 to 9999): whoever has the secret can make a new certificate at any time, so
an expiry would protect nobody, and a wrong clock would break the cluster. Expelling a member means
changing the secret.

*Source*: RFC 5280 (4.1.2.5: 99991231235959Z for no well-defined expiration; 4.2.1 extensions);
RFC 8410 (Ed25519 in certificates); RFC 6761 (``.invalid`` never resolves).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from replsession.identity import MEMBER_ID_BYTES, MemberId

_VALID_FROM: Final = datetime(2000, 1, 1, tzinfo=UTC)
_VALID_UNTIL: Final = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
_AUTHORITY_SERIAL: Final = 1
_AUTHORITY_NAME: Final = "replsession cluster authority"
_MEMBER_URI: Final = "replsession:member:"


@dataclass(frozen=True, slots=True)
class MemberCertificate:
    """A member's certificate and its private key, both only in memory."""

    certificate: x509.Certificate
    key: Ed25519PrivateKey = field(repr=False)

    def pem(self, password: bytes | None = None) -> bytes:
        """Return certificate and private key as PEM, the key encrypted if a password is given."""
        encryption = NoEncryption() if password is None else BestAvailableEncryption(password)
        key = self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
        return self.certificate.public_bytes(Encoding.PEM) + key


class CertificateAuthority:
    """
    The authority of one cluster: the same bytes on every member.

    Args:
        seed: 32 bytes, ``ClusterKeys.ca_seed``.
        cluster: Name of the cluster.
    """

    __slots__ = ("_certificate", "_key", "server_hostname")

    def __init__(self, seed: bytes, cluster: str) -> None:
        self.server_hostname: Final = server_hostname(cluster)
        self._key: Final = Ed25519PrivateKey.from_private_bytes(seed)
        self._certificate: Final = _authority_certificate(self._key)

    @property
    def der(self) -> bytes:
        """The authority's own certificate."""
        return self._certificate.public_bytes(Encoding.DER)

    def issue(self, member_id: MemberId) -> MemberCertificate:
        """
        Return a certificate with a fresh key; it names the member and serves both ends of a link.

        Args:
            member_id: 8 bytes.
        """
        key = Ed25519PrivateKey.generate()
        builder = _builder(key.public_key(), member_id.hex(), x509.random_serial_number())
        names = [
            x509.DNSName(self.server_hostname),
            x509.UniformResourceIdentifier(_MEMBER_URI + member_id.hex()),
        ]
        both_ends = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = (
            builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(digital_signature=True), critical=True)
            .add_extension(x509.ExtendedKeyUsage(both_ends), critical=False)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(_key_identifier_of_issuer(self._key.public_key()), critical=False)
        )
        return MemberCertificate(builder.sign(self._key, None), key)


def server_hostname(cluster: str) -> str:
    """
    Return the host name that every certificate of the cluster carries.

    Members are dialled by addresses that come and go; what is verified is this constant name.
    """
    digest = hashlib.sha256(cluster.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{digest[:32]}.replsession.invalid"


def member_of(der: bytes) -> MemberId | None:
    """
    Return the member that a certificate names, or None if it does not name exactly one.

    Only meaningful for a certificate that TLS has verified: this reads, it does not judge.
    """
    try:
        extensions = x509.load_der_x509_certificate(der).extensions
        names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except Exception:  # noqa: BLE001 - whatever a parser objects to, such a certificate names nobody
        return None
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    return _member_in(uris[0]) if len(uris) == 1 else None


def _member_in(uri: str) -> MemberId | None:
    identifier = uri.removeprefix(_MEMBER_URI)
    try:
        member_id = bytes.fromhex(identifier)
    except ValueError:
        return None
    # Compared as text: fromhex also takes capitals and spaces, and one member has one name.
    if len(member_id) != MEMBER_ID_BYTES or uri != _MEMBER_URI + member_id.hex():
        return None
    return member_id


def _authority_certificate(key: Ed25519PrivateKey) -> x509.Certificate:
    return (
        _builder(key.public_key(), _AUTHORITY_NAME, _AUTHORITY_SERIAL)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(key_cert_sign=True), critical=True)
        .sign(key, None)
    )


def _builder(key: Ed25519PublicKey, subject: str, serial: int) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(_name(_AUTHORITY_NAME))
        .public_key(key)
        .serial_number(serial)
        .not_valid_before(_VALID_FROM)
        .not_valid_after(_VALID_UNTIL)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _key_identifier_of_issuer(key: Ed25519PublicKey) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(key)


def _usage(*, digital_signature: bool = False, key_cert_sign: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
