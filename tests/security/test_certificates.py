"""The authority that every member derives alike, and the certificates it gives."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from replsession.security.certificates import CertificateAuthority, member_of, server_hostname
from replsession.security.keys import ClusterKeys

SECRET = "replsession-documentation-secret-do-not-use"
MEMBER = bytes.fromhex("0011223344556677")
AUTHORITY = CertificateAuthority(ClusterKeys(SECRET, "shop").ca_seed, "shop")
DERIVE = """
import hashlib
from replsession.security.certificates import CertificateAuthority
from replsession.security.keys import ClusterKeys
seed = ClusterKeys("replsession-documentation-secret-do-not-use", "shop").ca_seed
print(hashlib.sha256(CertificateAuthority(seed, "shop").der).hexdigest())
"""


def certificate_with(*names: x509.GeneralName) -> bytes:
    key = Ed25519PrivateKey.generate()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    builder = x509.CertificateBuilder(
        name, name, key.public_key(), 1, datetime(2000, 1, 1, tzinfo=UTC), datetime(2099, 1, 1)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(key, None).public_bytes(Encoding.DER)


def test_the_authority_is_the_same_bytes_in_every_process() -> None:
    seen = set()
    for seed in ("0", "1"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        answer = subprocess.run(
            [sys.executable, "-c", DERIVE],
            capture_output=True,
            text=True,
            check=True,
            env=environment,
            timeout=60,
        )
        seen.add(answer.stdout.strip())

    assert {hashlib.sha256(AUTHORITY.der).hexdigest()} == seen


def test_the_authority_of_the_documented_secret_is_these_bytes_for_ever() -> None:
    assert (
        hashlib.sha256(AUTHORITY.der).hexdigest()
        == "66779ac1b47e156caada02023fdde5c3804214ed7ef056b660ae527ecb1831d8"
    )


def test_the_authority_may_sign_members_and_nothing_else() -> None:
    certificate = x509.load_der_x509_certificate(AUTHORITY.der)
    extensions = certificate.extensions

    constraints = extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.critical
    assert x509.BasicConstraints(ca=True, path_length=0) == constraints.value
    usage = extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical
    assert (usage.value.key_cert_sign, usage.value.digital_signature) == (True, False)
    assert certificate.issuer == certificate.subject
    assert datetime(2000, 1, 1, tzinfo=UTC) == certificate.not_valid_before_utc
    assert datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC) == certificate.not_valid_after_utc


def test_another_secret_or_cluster_is_another_authority() -> None:
    others = [ClusterKeys(SECRET, "staging"), ClusterKeys(SECRET + "x", "shop")]

    for keys in others:
        assert AUTHORITY.der != CertificateAuthority(keys.ca_seed, "shop").der


def test_a_member_gets_a_certificate_for_both_ends_of_a_link() -> None:
    certificate = AUTHORITY.issue(MEMBER).certificate
    extensions = certificate.extensions

    constraints = extensions.get_extension_for_class(x509.BasicConstraints).value
    assert not constraints.ca
    names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [AUTHORITY.server_hostname] == names.get_values_for_type(x509.DNSName)
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == [
        "replsession:member:0011223344556677"
    ]
    purposes = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH} == set(purposes)
    authority = x509.load_der_x509_certificate(AUTHORITY.der)
    certificate.verify_directly_issued_by(authority)
    own = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    signer = extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    assert own.digest == signer.key_identifier


def test_each_certificate_has_a_key_of_its_own() -> None:
    first, second = AUTHORITY.issue(MEMBER), AUTHORITY.issue(MEMBER)

    assert first.certificate.public_key() != second.certificate.public_key()
    assert first.certificate.serial_number != second.certificate.serial_number


def test_the_private_key_leaves_only_where_it_is_asked_for() -> None:
    issued = AUTHORITY.issue(MEMBER)

    assert "key" not in repr(issued).lower()
    assert b"-----BEGIN PRIVATE KEY-----" in issued.pem()
    sealed = issued.pem(b"password")
    assert b"-----BEGIN ENCRYPTED PRIVATE KEY-----" in sealed
    assert b"-----BEGIN PRIVATE KEY-----" not in sealed
    text = sealed[sealed.index(b"-----BEGIN ENCRYPTED") :]
    opened = load_pem_private_key(text, b"password")
    assert issued.certificate.public_key() == opened.public_key()


def test_the_host_name_is_constant_and_does_not_resolve() -> None:
    digest = hashlib.sha256(b"shop").hexdigest()

    assert f"{digest[:32]}.replsession.invalid" == server_hostname("shop")
    assert server_hostname("shop") != server_hostname("staging")
    assert server_hostname("shop") == AUTHORITY.server_hostname


@given(st.binary(min_size=8, max_size=8))
@settings(max_examples=10)
def test_the_member_is_read_back(member_id: bytes) -> None:
    certificate = AUTHORITY.issue(member_id).certificate

    assert member_id == member_of(certificate.public_bytes(Encoding.DER))


def uri(text: str) -> x509.GeneralName:
    return x509.UniformResourceIdentifier(text)


@pytest.mark.parametrize(
    "names",
    [
        [],
        [x509.DNSName("replsession.invalid")],
        [uri("replsession:member:")],
        [uri("replsession:member:00112233445566")],
        [uri("replsession:member:001122334455667788")],
        [uri("replsession:member:00112233445566AA")],
        [uri("replsession:member:00112233 4455667")],
        [uri("replsession:member:zz11223344556677")],
        [uri("replsession:node:0011223344556677")],
        [uri("0011223344556677")],
        [uri("replsession:member:0011223344556677"), uri("replsession:member:7766554433221100")],
        [uri("https://example.org/"), uri("replsession:member:0011223344556677")],
    ],
    ids=str,
)
def test_a_certificate_that_names_no_member_or_several_is_none(
    names: list[x509.GeneralName],
) -> None:
    assert member_of(certificate_with(*names)) is None


def test_a_certificate_that_names_one_member_is_that_member() -> None:
    names = [x509.DNSName("other"), uri("replsession:member:0011223344556677")]

    assert member_of(certificate_with(*names)) == MEMBER


@given(st.binary(max_size=400))
@settings(max_examples=100)
def test_bytes_that_are_no_certificate_are_none(der: bytes) -> None:
    assert member_of(der) is None


@given(st.integers(0, 10_000), st.integers(1, 255))
@settings(max_examples=200)
def test_a_damaged_certificate_never_raises(position: int, change: int) -> None:
    der = bytearray(AUTHORITY.issue(MEMBER).certificate.public_bytes(Encoding.DER))
    der[position % len(der)] ^= change

    named = member_of(bytes(der))
    assert named is None or len(named) == len(MEMBER)
