"""The messages of repair as bytes: packed rows of digests, and what is none."""

from __future__ import annotations

from typing import Any

import cbor2
import pytest
from hypothesis import given

from replsession import messages as m
from replsession.errors import WireError
from replsession.wire import repairs
from replsession.wire.encoding import decode, encode
from replsession.wire.framing import HEAD
from tests.strategies import KEY, key_tuples

BUCKETS = repairs.BUCKETS


def body_of(message: m.Message) -> list[Any]:
    """Return what a message looks like on the wire."""
    body: list[Any] = cbor2.loads(encode(message)[HEAD.size :])
    return body


@given(key_tuples)
def test_keys_are_flat(keys: tuple[Any, ...]) -> None:
    assert len(repairs.flat_keys(keys)) == 2 * len(keys)
    assert repairs.read_keys(repairs.flat_keys(keys)) == keys


def test_a_leaf_takes_nine_bytes_and_buckets_keep_their_order() -> None:
    leaves = {200: {0: 1, 255: 2**64 - 1}, 3: {}, 4: {7: 5}}
    body = body_of(m.LeafDigests(1, 2, 9, leaves))

    assert body[:3] == [1, 2, 9]
    assert body[3][::2] == [200, 3, 4]
    assert [len(packed) for packed in body[3][1::2]] == [18, 0, 9]
    assert list(repairs.read_leaf_digests(body).leaves) == [200, 3, 4]


def test_a_leaf_that_differs_takes_two_bytes() -> None:
    body = body_of(m.RecordDigests(1, 2, None, (0, 258, 65535), {KEY: 7}))

    assert body == [1, 2, None, b"\0\0\1\2\xff\xff", [*KEY, 7]]


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (9, [1, bytes(8 * BUCKETS - 1)]),
        (9, [1, bytes(8 * BUCKETS + 8)]),
        (9, [1, [0] * BUCKETS]),
        (10, [1, bytes(BUCKETS + 1)]),
        (10, [1, [0]]),
        (11, [1, 1, 0]),
        (11, [1, 1, 256, []]),
        (11, [1, 1, 0, [0]]),
        (11, [1, 1, 0, [BUCKETS, b""]]),
        (11, [1, 1, 0, [7, b"", 8, b"", 7, b""]]),
        (11, [1, 1, 0, [7, bytes(8)]]),
        (11, [1, 1, 0, [7, bytes(9 * 257)]]),
        (11, [1, 1, 0, [7, []]]),
        (12, [1, 1, None, b""]),
        (12, [1, 1, 65536, b"", []]),
        (12, [1, 1, False, b"", []]),
        (12, [1, 1, None, b"\0", []]),
        (12, [1, 1, None, [0], []]),
        (12, [1, 1, None, bytes(2 * 65536 + 2), []]),
        (12, [1, 1, None, b"", [*KEY]]),
        (12, [1, 1, None, b"", [*KEY, 2**64]]),
        (23, [1, 1]),
        (23, [1, 1, ["/"]]),
        (23, [1, -1, []]),
        (23, [1, 1, [], []]),
        (24, [1, 1]),
        (24, [1, 1, [*KEY], 7]),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_body_that_is_not_as_the_table_says_is_refused(kind: int, body: list[Any]) -> None:
    with pytest.raises(WireError):
        decode(kind, cbor2.dumps(body))


def test_all_buckets_with_all_their_leaves_are_a_message() -> None:
    leaves = {bucket: dict.fromkeys(range(256), 2**64 - 1) for bucket in range(BUCKETS)}
    message = m.LeafDigests(1, 1, 0, leaves)

    assert decode(11, encode(message)[HEAD.size :]) == message
    assert len(encode(message)) < 600_000
