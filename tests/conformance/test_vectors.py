"""
Golden bytes: what a member of wire version 1 writes and reads, whoever wrote the member.

The frames were put together from the table in ``wire/encoding.py`` alone, not by the code under
test. A change that makes one of these tests fail needs another wire version.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from replsession import messages
from replsession.config import Limits
from replsession.errors import WireError
from replsession.identity import Address, Key
from replsession.messages import Heartbeat, Message
from replsession.session.delta import Delta, Piece, Write
from replsession.session.stamp import Stamp
from replsession.wire.encoding import (
    KINDS,
    decode,
    decode_heartbeat,
    decode_item,
    encode,
    encode_heartbeat,
    encode_item,
)
from replsession.wire.framing import WIRE_VERSION, FrameReader

FOLDER = Path(__file__).parent / "vectors"
TYPES: dict[str, Any] = {
    **{kind.__name__: kind for kind in (*KINDS.values(), Heartbeat)},
    **{kind.__name__: kind for kind in (messages.Access, messages.Expiration, messages.Neighbour)},
    **{kind.__name__: kind for kind in (Address, Delta, Key, Piece, Stamp, Write)},
}


def vectors(name: str, part: str = "vectors") -> list[Any]:
    """Return the vectors of one file as parameters named after them."""
    content = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    assert content["wire_version"] == WIRE_VERSION
    return [pytest.param(vector, id=vector["name"]) for vector in content[part]]


def built(value: Any) -> Any:
    """Return the value that the notation of the files describes."""
    match value:
        case {"type": name, **parts}:
            return TYPES[name](**{str(part): built(inner) for part, inner in parts.items()})
        case {"bytes": text}:
            return bytes.fromhex(text)
        case {"map": pairs}:
            return {built(key): built(inner) for key, inner in pairs}
        case list():
            return tuple(map(built, value))
    return value


def read(frame: bytes) -> Message:
    """Return the one message in a frame."""
    ((kind, body),) = FrameReader(Limits().frame_bytes_max).feed(frame)
    return decode(kind, body)


@pytest.mark.parametrize("vector", vectors("messages"))
def test_a_message_is_written_and_read(vector: dict[str, Any]) -> None:
    frame, message = bytes.fromhex(vector["frame"]), built(vector["message"])

    assert encode(message).hex() == frame.hex()
    assert read(frame) == message
    assert KINDS[vector["kind"]] is type(message)


@pytest.mark.parametrize("vector", vectors("items"))
def test_an_item_is_written_and_read(vector: dict[str, Any]) -> None:
    item, delta = bytes.fromhex(vector["item"]), built(vector["delta"])

    assert encode_item(delta).hex() == item.hex()
    assert decode_item(item) == delta
    assert item[1] == vector["form"]


@pytest.mark.parametrize("vector", vectors("heartbeats"))
def test_a_heartbeat_is_written_and_read(vector: dict[str, Any]) -> None:
    payload, heartbeat = bytes.fromhex(vector["payload"]), built(vector["message"])

    assert encode_heartbeat(heartbeat).hex() == payload.hex()
    assert decode_heartbeat(payload) == heartbeat


@pytest.mark.parametrize("vector", vectors("refused"))
def test_a_frame_is_refused(vector: dict[str, Any]) -> None:
    with pytest.raises(WireError):
        read(bytes.fromhex(vector["frame"]))


def test_there_is_a_vector_for_every_kind_of_message_and_every_form_of_item() -> None:
    kinds = [parameter.values[0]["kind"] for parameter in vectors("messages")]
    forms = [parameter.values[0]["form"] for parameter in vectors("items")]

    assert sorted(dict.fromkeys(kinds)) == sorted(KINDS)
    assert sorted(dict.fromkeys(forms)) == [0, 1, 2, 3]
