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

What CBOR has not is a tag of our own, with this content (session/format.py has the numbers)::

    d9c001  tuple       array of its items
    d9c002  set         array of its items, in the order of their bytes
    d9c003  frozenset   the same
    d9c004  dict        with at least one int key: array of key, value, key, value …, in its order;
                        keys are ints and texts
    d9c005  datetime    array: microseconds of the clock since 0001-01-01T00:00, zone, fold (0 or 1)
    d9c006  date        days, 1 for 0001-01-01
    d9c007  time        array: microseconds since midnight, zone, fold
    d9c008  timedelta   array: days, seconds (0 to 86 399), microseconds (0 to 999 999)
    d9c009  Decimal     text as ``str`` gives it, with a capital E
    d9c00a  UUID        byte string of 16
    d9c00b  registered  array: name, version, plain form

    zone    null without one; the microseconds east of UTC of a fixed offset (UTC: 0), or
            array: these, its name, if that is not the one that it has anyway; or the text that is
            the key of a zone of ``zoneinfo``
    plain form    any value; of an Enum member its name, of one of a Flag its number, of a dataclass
            a map of its fields

Scalars are decoded by hand: that is short, as strict as it reads, and as fast as ``cbor2``.

1. Decoding an untouched value and encoding it again gives the same bytes: that is how a change in
   place is found. Of an object this holds for the bytes that this member would write:
   :func:`is_untouched` tells for those that another version of the application wrote.
2. Everything that ``encode`` takes, ``decode`` takes, in every member (values.py, rule 3) that has
   the same types registered and the same time zones.
3. ``decode`` refuses whatever could be read in two ways, come out as another type, or build objects
   that are not of this table: other tags, indefinite lengths, duplicate keys, other keys, simple
   values, trailing bytes. It takes a number or a length that is written longer or shorter than
   here, so that members with another version of ``cbor2`` stay readable. For the same reason, and
   since other members may order a set by other bytes, it takes sets in any order.
4. ``cbor2`` never makes anything of a tag: it leaves ours as they are, and is stopped at others.
"""

from __future__ import annotations

import math
from io import BytesIO
from struct import Struct
from typing import Any, Final, NoReturn

import cbor2

from replsession.config import VALUE_BYTES_CEILING, Limits
from replsession.errors import SessionError, SessionTooLarge, WireError
from replsession.session import format as fmt
from replsession.session.lifting import lift
from replsession.session.lowering import lower
from replsession.session.values import is_plain

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
        data = cbor2.dumps(value if is_plain(value, limits) else lower(name, value, limits))
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
        if number <= fmt.INT_MAX:
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


def is_untouched(stored: bytes, encoded: bytes) -> bool:
    """
    Tell whether *encoded* is what this member writes for a value that was read from *stored*.

    The bytes differ when the stored value has an object of an older version, or one that another
    version of the class restores with more or fewer fields. Reading it is no change: two members
    with different versions would write it in turns, and the one with the older version could not
    read it any more.
    """
    if _REGISTERED_START not in stored:
        return stored == encoded
    try:
        return encode("", decode(stored), _NO_BYTES_BOUND) == encoded
    except (WireError, SessionError):
        return False


class _OurTags(dict[int, Any]):
    """Asked for the decoder of each tag, the built-in ones included, before it would run."""

    def __missing__(self, tag: int) -> NoReturn:
        if tag not in fmt.TAGS:
            raise WireError(f"a value has the tag {tag}")
        # That no decoder is known makes ``cbor2`` leave the tag as it is, with its content.
        raise KeyError(tag)


_OUR_TAGS = _OurTags()
_REGISTERED_START = b"\xd9" + fmt.REGISTERED.to_bytes(2, "big")
_NATIVE_DEPTH_MAX = 4 * fmt.DEPTH_MAX + 3
"""Each level has at most two tags and two arrays, those of an object and of its plain form; the
last one can hold a time: a tag, an array, and that of the zone."""


def _item(data: bytes) -> Any:
    stream = BytesIO(data)
    try:
        value = cbor2.load(
            stream,
            semantic_decoders=_OUR_TAGS,
            max_depth=_NATIVE_DEPTH_MAX,
            allow_indefinite=False,
            allow_duplicate_keys=False,
            strict_hashable_types=True,
        )
    except cbor2.CBORDecodeError as error:
        raise WireError(f"a value is not well-formed ({type(error).__name__})") from error
    if stream.tell() != len(data):
        raise WireError(f"{len(data) - stream.tell()} bytes follow a value")
    return value if is_plain(value, _NO_BYTES_BOUND) else lift(value)
