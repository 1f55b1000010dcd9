"""The doctor's datagram, and what can be told of the others'."""

from __future__ import annotations

import json

import cbor2
import pytest

from replsession.cli.doctor.probing import HOSTS_MAX, PROBE_MAGIC, Probe, sealed, told_apart
from replsession.identity import Address
from replsession.messages import Heartbeat
from replsession.security.keys import HEARTBEAT_BYTES_MAX, ClusterKeys
from replsession.wire.encoding import encode_heartbeat
from tests.layout.source import ROOT

KEYS = ClusterKeys("a secret of this test alone, 0123456789", "shop")
STRANGERS = ClusterKeys("another secret of this test, 0123456789", "shop")
PROBE = Probe(b"12345678", 3, 1_700_000_000_000, 1500, (("10.0.0.2", 7), ("10.0.0.3", 1)))
BEAT = encode_heartbeat(Heartbeat(b"abcdefgh", Address("10.0.0.2", 4001)))


def test_a_probe_comes_back_as_it_was() -> None:
    told = told_apart(sealed(PROBE, KEYS), "10.0.0.2", KEYS)
    assert (told.kind, told.probe) == ("probe", PROBE)


def test_members_drop_a_probe_and_it_is_no_heartbeat_under_another_magic() -> None:
    datagram = sealed(PROBE, KEYS)
    assert KEYS.opened(datagram) is None
    assert KEYS.opened(b"rplH" + datagram[4:]) is None
    # Nor can a heartbeat be made into a probe.
    assert told_apart(PROBE_MAGIC + KEYS.seal(BEAT)[4:], "h", KEYS).kind == "other probe"


def test_a_probe_of_another_cluster_is_not_read() -> None:
    assert told_apart(sealed(PROBE, STRANGERS), "10.0.0.2", KEYS).kind == "other probe"


def test_the_longest_probe_fits() -> None:
    hears = tuple((f"255.255.255.{n}", 2**31) for n in range(100))
    probe = Probe(b"12345678", 2**31, 2**48, 2**31, hears)
    datagram = sealed(probe, KEYS)
    assert len(datagram) <= HEARTBEAT_BYTES_MAX
    told = told_apart(datagram, "10.0.0.2", KEYS).probe
    assert told is not None and told.hears == hears[:HOSTS_MAX]


@pytest.mark.parametrize("body", [1, [1, 2, 3], [1, 2, 3, 4, 5], [b"", 0, 0, 0, ["a"]], "text"])
def test_a_sealed_probe_of_another_form_is_not_read(body: object) -> None:
    from replsession.cli.doctor.probing import _tag

    signed = PROBE_MAGIC + KEYS.key_id + cbor2.dumps(body)
    assert told_apart(signed + _tag(signed, KEYS), "h", KEYS).kind == "other probe"


@pytest.mark.parametrize(
    ("datagram", "kind", "receiver"),
    [
        (KEYS.seal(BEAT), "ours", Address("10.0.0.2", 4001)),
        (KEYS.seal(b"\x80"), "unlike", None),
        (STRANGERS.seal(BEAT), "other key", Address("10.0.0.2", 4001)),
        (STRANGERS.seal(b"junk"), "other key", None),
        (KEYS.seal(BEAT)[:-1] + b"x", "forged", None),
        (b"rplH", "other key", None),
        (b"rplZ and more", "other version", None),
        (b"TRIBES-B\x01\x00 and more", "tomcat", None),
        (b"", "unknown", None),
        (b"hello", "unknown", None),
    ],
)
def test_datagrams_are_told_apart(datagram: bytes, kind: str, receiver: Address | None) -> None:
    told = told_apart(datagram, "10.0.0.2", KEYS)
    assert (told.kind, told.receiver) == (kind, receiver)


@pytest.mark.parametrize("keys", [KEYS, STRANGERS])
def test_a_receiver_elsewhere_is_never_dialled(keys: ClusterKeys) -> None:
    assert told_apart(keys.seal(BEAT), "10.0.0.66", KEYS).receiver is None


def test_the_golden_heartbeat_is_known_as_one() -> None:
    vectors = json.loads((ROOT / "tests/conformance/vectors/heartbeats.json").read_text())
    payload = bytes.fromhex(vectors["vectors"][0]["payload"])
    told = told_apart(KEYS.seal(payload), "10.0.0.7", KEYS)
    assert (told.kind, told.receiver) == ("ours", Address("10.0.0.7", 4001))
