"""The fixed numbers: other members rely on them, so a change here is another wire version."""

from __future__ import annotations

import cbor2
import pytest

from replsession.session import format as fmt


def test_the_bounds() -> None:
    assert (fmt.DEPTH_MAX, fmt.ITEMS_MAX, fmt.NAME_BYTES_MAX) == (32, 10_000, 256)
    assert (fmt.INT_MIN, fmt.INT_MAX) == (-9223372036854775808, 9223372036854775807)


def test_every_tag_has_its_number() -> None:
    names = ["TUPLE", "SET", "FROZENSET", "MIXED_DICT", "DATETIME", "DATE", "TIME", "TIMEDELTA"]
    names += ["DECIMAL", "UUID", "REGISTERED"]
    assert [getattr(fmt, name) for name in names] == [*range(0xC001, 0xC00C)] == [*fmt.TAGS]


@pytest.mark.parametrize("tag", fmt.TAGS)
def test_no_tag_of_ours_has_a_meaning_in_cbor2(tag: int) -> None:
    for content in ("x", b"x", 1, [1, 2], {"a": 1}):
        read = cbor2.loads(cbor2.dumps(cbor2.CBORTag(tag, content)))
        assert type(read) is cbor2.CBORTag and read.tag == tag
