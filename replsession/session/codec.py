"""
Codec: one attribute's value as bytes, one CBOR item (RFC 8949).

::

    value               bytes                    by
    None False True     f6 f4 f5                 table
    int                 major types 0 and 1      small ones by table, else ``cbor2``
    bytes, str          major types 2 and 3      short ASCII by hand, else ``cbor2``
    float               fb and 8 bytes; nan and  ``cbor2``
                        the infinities as f97e00, f97c00, f9fc00
    list, dict          major types 4 and 5      ``cbor2``; a dict keeps its order

Scalars are decoded by hand: that is short, as strict as it reads, and as fast as ``cbor2``.

1. Decoding an untouched value and encoding it again gives the same bytes: that is how a change in
   place is found.
2. Everything that ``encode`` takes, ``decode`` takes, in every member (values.py, rule 3).
3. ``decode`` refuses whatever could be read in two ways, come out as another type, or build objects
   of its own: tags, indefinite lengths, duplicate keys, keys other than str, simple values,
   trailing bytes. It takes a number or a length that is written longer or shorter than here, so
   that members with another version of ``cbor2`` stay readable.
"""

from __future__ import annotations

import math
from io import BytesIO
from struct import Struct
from typing import Any, Final, NoReturn

import cbor2

from replsession.config import VALUE_BYTES_CEILING, Limits
from replsession.errors import SessionTooLarge, UnserializableAttribute, WireError
from replsession.session import values

_LIMITS = Limits()
_NO_BYTES_BOUND = Limits(
    value_bytes_max=VALUE_BYTES_CEILING, frame_bytes_max=2 * VALUE_BYTES_CEILING
)
"""For what was decoded: its size is known, and other members may allow more than we do."""

_SMALL_INTS = tuple(bytes((n,)) if n < 24 else bytes((0x18, n)) for n in range(256))
_TEXT_HEADS = tuple(bytes((0x60 + n,)) if n < 24 else bytes((0x78, n)) for n in range(256))
_SINGLETONS = {None: b"\xf6", False: b"\xf4", True: b"\xf5"}

_UNKNOWN: Final = object()
_WHOLE: dict[bytes, object] = {
    **{data: value for value, data in _SINGLETONS.items()},
    **{data: number for number, data in enumerate(_SMALL_INTS)},
    **{bytes((0x20 + n,)): -1 - n for n in range(24)},
    b"\xf9\x7e\x00": math.nan,
    b"\xf9\x7c\x00": math.inf,
    b"\xf9\xfc\x00": -math.inf,
}
"""Values that are told by all of their bytes."""

_INT_LENGTHS = {major + 24 + n: 1 + 2**n for major in (0x00, 0x20) for n in range(4)}
_STRING_STARTS = {
    **{major + n: 1 for major in (0x40, 0x60) for n in range(24)},
    **{major + 24 + n: 1 + 2**n for major in (0x40, 0x60) for n in range(3)},
}
_DOUBLE = Struct(">xd")
_DOUBLE_HEAD = 0xFB


def encode(name: str, value: object, limits: Limits = _LIMITS) -> bytes:
    """
    Return the bytes of a value.

    Args:
        name: Name of the attribute, for the errors.
        value: Anything that :func:`replsession.session.values.check` takes.
        limits: ``value_bytes_max`` bounds the result, in bytes.

    Raises:
        UnserializableAttribute: The value, or something in it, may not be stored.
        SessionTooLarge: It has more bytes than allowed.
    """
    if type(value) is str and len(value) < 256 and value.isascii():
        data = _TEXT_HEADS[len(value)] + value.encode()
    elif type(value) is int and 0 <= value < 256:
        data = _SMALL_INTS[value]
    elif value is None or value is True or value is False:
        data = _SINGLETONS[value]
    else:
        values.check(name, value, limits)
        data = cbor2.dumps(value)
    if len(data) > limits.value_bytes_max:
        raise SessionTooLarge(f"attribute {name!r}", len(data), limits.value_bytes_max, "bytes")
    return data


def decode(data: bytes) -> Any:
    """
    Return the value of bytes that :func:`encode` made, here or on another member.

    Raises:
        WireError: They are not one item of a kind that may be stored, or pass the format's bounds.
    """
    value = _WHOLE.get(data, _UNKNOWN)
    if value is not _UNKNOWN:
        return value
    if not data:
        raise WireError("a value has no bytes")
    head = data[0]
    if head in _STRING_STARTS:
        return _string(data, head)
    if head == _DOUBLE_HEAD and len(data) == _DOUBLE.size:
        return _DOUBLE.unpack(data)[0]
    if _INT_LENGTHS.get(head) == len(data):
        number = int.from_bytes(data[1:], "big")
        if number <= values.INT_MAX:
            return number if head < 0x20 else -1 - number
    return _item(data)


def _string(data: bytes, head: int) -> str | bytes:
    start = _STRING_STARTS[head]
    declared = head & 0x1F if start == 1 else int.from_bytes(data[1:start], "big")
    content = data[start:]
    if len(content) != declared:
        raise WireError(f"a string of {declared} bytes has {len(content)}")
    if head < 0x60:
        return content
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise WireError("a text is not UTF-8") from error


class _NoTags(dict[int, Any]):
    """Asked for the decoder of each tag, the built-in ones included, before it would run."""

    def __missing__(self, tag: int) -> NoReturn:
        raise WireError(f"a value has the tag {tag}")


_NO_TAGS = _NoTags()


def _item(data: bytes) -> Any:
    stream = BytesIO(data)
    try:
        value = cbor2.load(
            stream,
            semantic_decoders=_NO_TAGS,
            max_depth=values.DEPTH_MAX,
            allow_indefinite=False,
            allow_duplicate_keys=False,
            strict_hashable_types=True,
        )
    except cbor2.CBORDecodeError as error:
        raise WireError(f"a value is not well-formed ({type(error).__name__})") from error
    if stream.tell() != len(data):
        raise WireError(f"{len(data) - stream.tell()} bytes follow a value")
    try:
        values.check("", value, _NO_BYTES_BOUND)
    except UnserializableAttribute as error:
        raise WireError(f"a value may not be stored: {error.problem}") from error
    return value
