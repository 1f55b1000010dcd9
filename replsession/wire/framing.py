"""
Frames: how messages are cut out of a stream of bytes.

::

    offset  size  field    meaning
    0       4     length   of what follows, unsigned big-endian, 2 .. frame_bytes_max
    4       1     version  WIRE_VERSION; a link that speaks another one is closed
    5       1     kind     which message (wire/encoding.py)
    6       n     body     one CBOR item

TLS has checked the bytes already, so there is no check sum here.
"""

from __future__ import annotations

from struct import Struct

from replsession.errors import WireError

WIRE_VERSION = 1
HEAD = Struct(">IBB")
_LENGTH = Struct(">I")


def frame(kind: int, body: bytes) -> bytes:
    """Return the frame of one message."""
    return HEAD.pack(len(body) + 2, WIRE_VERSION, kind) + body


class FrameReader:
    """
    Cuts the bytes of one link into frames. Keeps at most one frame that is not whole yet.

    Args:
        frame_bytes_max: A longer frame is an error as soon as its length is read.
    """

    __slots__ = ("_buffer", "_frame_bytes_max")

    def __init__(self, frame_bytes_max: int) -> None:
        self._buffer = bytearray()
        self._frame_bytes_max = frame_bytes_max

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """
        Take in bytes and return the frames that became whole: kind and body of each.

        Raises:
            WireError: the length or the version is not one that we speak.
        """
        buffer = self._buffer
        buffer += data
        frames: list[tuple[int, bytes]] = []
        at = 0
        while len(buffer) - at >= HEAD.size:
            length, version, kind = HEAD.unpack_from(buffer, at)
            if not 2 <= length <= self._frame_bytes_max:
                raise WireError(f"a frame of {length} bytes; at most {self._frame_bytes_max}")
            if version != WIRE_VERSION:
                raise WireError(f"wire version {version}; this member speaks {WIRE_VERSION}")
            end = at + _LENGTH.size + length
            if end > len(buffer):
                break
            frames.append((kind, bytes(buffer[at + HEAD.size : end])))
            at = end
        del buffer[:at]
        return frames
