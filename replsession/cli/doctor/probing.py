"""
The doctor's own datagram, and what can be told of the others' without any trust.

A probe is ``magic ‖ key id (4) ‖ payload ‖ HMAC-SHA256[:16]``, as a heartbeat is, under another
magic: members drop it unread, and since the magic is sealed too, no probe can be made into a
heartbeat. The payload is one CBOR array: run (8 random bytes, one for each doctor), number, wall
clock in ms, ms for which it has listened, [host, datagrams …] flat: what it hears.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import Any, Final

import cbor2

from replsession.errors import WireError
from replsession.identity import Address
from replsession.security.keys import (
    HEARTBEAT_BYTES_MAX,
    HEARTBEAT_MAGIC,
    KEY_ID_BYTES,
    SEAL_BYTES,
    ClusterKeys,
)
from replsession.wire.encoding import decode_heartbeat

PROBE_MAGIC: Final = b"rplD"
FAMILY: Final = b"rpl"
"""All datagrams of ours begin so, those of versions to come as well."""
TOMCAT_MAGIC: Final = b"TRIBES-B"
"""*Source*: Tomcat ``XByteBuffer.START_DATA``."""
HOSTS_MAX: Final = 16
"""Hosts that one probe tells of, so that it fits a heartbeat's bound."""
RUN_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class Probe:
    """What a doctor tells the others."""

    run: bytes
    number: int
    wall_ms: int
    listened_ms: int
    hears: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Datagram:
    """What a datagram is: see ``Heard.kind``, and ``probe``."""

    kind: str
    key_id: bytes = b""
    receiver: Address | None = None
    probe: Probe | None = None


def sealed(probe: Probe, keys: ClusterKeys) -> bytes:
    """Return the datagram of a probe."""
    flat = [part for pair in probe.hears[:HOSTS_MAX] for part in pair]
    body = cbor2.dumps([probe.run, probe.number, probe.wall_ms, probe.listened_ms, flat])
    signed = PROBE_MAGIC + keys.key_id + body
    return signed + _tag(signed, keys)


def told_apart(datagram: bytes, source: str, keys: ClusterKeys) -> Datagram:
    """
    Return what a datagram is.

    Args:
        datagram: Any bytes that came.
        source: The host that they came from; a receiver elsewhere is not believed.
        keys: Of the cluster that was asked about.
    """
    if datagram.startswith(PROBE_MAGIC):
        probe = _probe_in(datagram, keys)
        return Datagram("probe", probe=probe) if probe else Datagram("other probe")
    if datagram.startswith(HEARTBEAT_MAGIC):
        return _heartbeat(datagram, source, keys)
    if datagram.startswith(FAMILY):
        return Datagram("other version")
    return Datagram("tomcat" if datagram.startswith(TOMCAT_MAGIC) else "unknown")


def _heartbeat(datagram: bytes, source: str, keys: ClusterKeys) -> Datagram:
    head = len(HEARTBEAT_MAGIC)
    key_id = datagram[head : head + KEY_ID_BYTES]
    payload = keys.opened(datagram)
    if payload is None:
        if key_id == keys.key_id:
            return Datagram("forged", key_id)
        # Not to be believed: only who speaks there now is asked for, and only at the source.
        payload = datagram[head + KEY_ID_BYTES : -SEAL_BYTES]
        return Datagram("other key", key_id, _receiver(payload, source))
    receiver = _receiver(payload, source)
    return Datagram("ours" if receiver else "unlike", key_id, receiver)


def _receiver(payload: bytes, source: str) -> Address | None:
    try:
        address = decode_heartbeat(payload).address
    except WireError:
        return None
    return address if address.host == source else None


def _probe_in(datagram: bytes, keys: ClusterKeys) -> Probe | None:
    signed, tag = datagram[:-SEAL_BYTES], datagram[-SEAL_BYTES:]
    if len(datagram) > HEARTBEAT_BYTES_MAX or not hmac.compare_digest(_tag(signed, keys), tag):
        return None
    # The seal fits, so this is of a doctor; perhaps of another version.
    try:
        return _probe_of(cbor2.loads(signed[len(PROBE_MAGIC) + KEY_ID_BYTES :]))
    except (cbor2.CBORDecodeError, TypeError, ValueError):
        return None


def _probe_of(body: Any) -> Probe:
    run, number, wall_ms, listened_ms, flat = body
    hears = tuple(
        (str(host), int(count)) for host, count in zip(flat[::2], flat[1::2], strict=True)
    )
    return Probe(bytes(run), int(number), int(wall_ms), int(listened_ms), hears)


def _tag(signed: bytes, keys: ClusterKeys) -> bytes:
    return hmac.digest(keys.heartbeat_key, signed, hashlib.sha256)[:SEAL_BYTES]
