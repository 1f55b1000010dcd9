"""Frames: the same ones however the bytes are split, and none beyond its bound."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replsession.errors import WireError
from replsession.wire.framing import HEAD, WIRE_VERSION, FrameReader, frame

BOUND = 300
bodies = st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=100)), max_size=8)


def read_in_parts(stream: bytes, cuts: list[int]) -> list[tuple[int, bytes]]:
    """Feed a reader the stream, cut at these places."""
    reader = FrameReader(BOUND)
    places = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    parts = [stream[start:end] for start, end in pairwise(places)]
    return [found for part in parts for found in reader.feed(part)]


@given(bodies, st.lists(st.integers(0, 10_000), max_size=20))
def test_frames_do_not_depend_on_the_split(
    written: list[tuple[int, bytes]], cuts: list[int]
) -> None:
    stream = b"".join(frame(kind, body) for kind, body in written)

    assert read_in_parts(stream, cuts) == written


@given(bodies)
def test_frames_come_out_one_byte_at_a_time(written: list[tuple[int, bytes]]) -> None:
    stream = b"".join(frame(kind, body) for kind, body in written)

    assert read_in_parts(stream, list(range(len(stream)))) == written


@given(bodies, st.binary(min_size=1, max_size=50))
def test_a_frame_that_is_not_whole_is_kept_back(
    written: list[tuple[int, bytes]], body: bytes
) -> None:
    last = frame(9, body)
    stream = b"".join(frame(kind, body) for kind, body in written) + last
    reader = FrameReader(BOUND)

    assert reader.feed(stream[:-1]) == written
    assert reader.feed(b"") == []
    assert reader.feed(stream[-1:]) == [(9, body)]


def test_the_head_is_as_the_table_says() -> None:
    assert frame(7, b"abc") == bytes.fromhex("00000005 01 07 616263")
    assert (WIRE_VERSION, HEAD.size) == (1, 6)


@pytest.mark.parametrize("length", [0, 1, BOUND + 1, 2**31, 2**32 - 1])
@pytest.mark.parametrize("behind", [b"", b"x" * 1000])
def test_a_length_out_of_bounds_is_an_error_as_soon_as_it_is_read(
    length: int, behind: bytes
) -> None:
    reader = FrameReader(BOUND)

    with pytest.raises(WireError, match=str(length)):
        reader.feed(HEAD.pack(length, WIRE_VERSION, 1) + behind)


@pytest.mark.parametrize("size", [0, 1, BOUND - 2])
def test_a_frame_may_be_as_long_as_its_bound(size: int) -> None:
    assert FrameReader(BOUND).feed(frame(1, b"x" * size)) == [(1, b"x" * size)]


@pytest.mark.parametrize("version", [0, 2, 22, 255])
def test_another_version_is_an_error_that_names_both(version: int) -> None:
    reader = FrameReader(BOUND)

    with pytest.raises(WireError, match=rf"wire version {version}; this member speaks 1"):
        reader.feed(HEAD.pack(2, version, 3))


def test_what_stands_before_a_bad_frame_was_given_out_already() -> None:
    reader = FrameReader(BOUND)

    assert reader.feed(frame(1, b"a")) == [(1, b"a")]
    with pytest.raises(WireError):
        reader.feed(HEAD.pack(1, WIRE_VERSION, 1))


@given(st.lists(st.binary(max_size=60), max_size=10))
def test_any_bytes_are_frames_or_an_error(parts: list[bytes]) -> None:
    reader = FrameReader(BOUND)
    given_out = 0
    try:
        for part in parts:
            given_out += sum(len(body) + HEAD.size for _, body in reader.feed(part))
    except WireError:
        return
    assert given_out <= sum(map(len, parts))
