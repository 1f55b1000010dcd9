"""
Flashes: messages for the next page, which every writer keeps in a register of its own.

The register's name is ``"\\0!"`` and the writer's member id in hex; its value is one CBOR array::

    [[hlc, id, category, message] …], [id …]

First the messages that were flashed through this writer, then the ids of messages of *others* that
were popped through it. The message is the encoded value as a byte string, hlc the clock value of
its commit as 8 bytes.

1. Only its writer writes a register, so two that flash at the same time keep both, and whoever pops
   names what it has seen: a message that comes meanwhile stays.
2. Nothing is left of a message: its writer leaves it out when it writes again after it was popped,
   and who has popped it forgets that when the message is gone. Attributes of their own would leave
   the stamp of each removal for as long as the session lives.
3. They are shown in the order of the clock values of their commits, which is that of causes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import cbor2

from replsession.config import Limits
from replsession.errors import WireError
from replsession.identity import MemberId
from replsession.session.codec import decode
from replsession.session.delta import Write
from replsession.session.stamp import Stamp

PREFIX = "\0!"
ID_BYTES = 8
HEAD_BYTES = 32
"""What stands around a message and its category, at most."""


class Flash(NamedTuple):
    """One message. ``id`` is unlike that of any other of the session."""

    id: bytes
    category: str
    message: bytes
    """Encoded."""

    @property
    def size(self) -> int:
        """What it counts towards the size of its session, in bytes."""
        return len(self.message) + len(self.category.encode()) + HEAD_BYTES


class Written(NamedTuple):
    """What a writer must write."""

    register: str
    value: bytes | None
    dropped: int
    """Messages, the oldest, that had to go because there were too many."""


class _Register(NamedTuple):
    messages: list[tuple[bytes, Flash]]
    popped: list[bytes]


def register_of(writer: MemberId) -> str:
    """Return the name of a writer's register."""
    return PREFIX + writer.hex()


def shown(attributes: Mapping[str, Write]) -> tuple[Flash, ...]:
    """Return the messages that nobody has popped, the oldest first."""
    return _shown(_registers(attributes), {})


def written(
    attributes: Mapping[str, Write],
    stamp: Stamp,
    flashed: Iterable[Flash],
    popped: Iterable[bytes],
    limits: Limits,
) -> Written:
    """
    Return what a writer must write to flash some messages and to pop others.

    Args:
        attributes: Of the record, as they are at this commit.
        stamp: Of the commit.
        flashed: New messages.
        popped: Ids of messages that were there.
        limits: ``flashes_max`` bounds all messages of the session, ``value_bytes_max`` what is in
            one register; the oldest go.
    """
    registers = _registers(attributes)
    register = register_of(stamp.member)
    own = registers.pop(register, _Register([], []))
    hlc = stamp.hlc.to_bytes(8, "big")
    messages = own.messages + [(hlc, flash) for flash in flashed]
    all_here = {**registers, register: _Register(messages, own.popped)}
    gone = dict.fromkeys([*own.popped, *popped])
    left = _shown(all_here, gone)
    too_many = left[: max(0, len(left) - limits.flashes_max)]
    gone |= dict.fromkeys(flash.id for flash in too_many)
    kept = _left(messages, [gone, *(dict.fromkeys(each.popped) for each in registers.values())])
    dropped = len(too_many)
    while len(kept) > 1 and sum(flash.size for _, flash in kept) > limits.value_bytes_max:
        del kept[0]
        dropped += 1
    of_others = {flash.id: None for each in registers.values() for _, flash in each.messages}
    value = _encoded(_Register(kept, [id for id in gone if id in of_others]))
    return Written(register, value, dropped)


def _left(
    messages: list[tuple[bytes, Flash]], popped: Iterable[Mapping[bytes, None]]
) -> list[tuple[bytes, Flash]]:
    for ids in popped:
        messages = [message for message in messages if message[1].id not in ids]
    return messages


def _shown(registers: Mapping[str, _Register], gone: Mapping[bytes, None]) -> tuple[Flash, ...]:
    popped = {id: None for each in registers.values() for id in each.popped}
    found = [
        (hlc, register, number, flash)
        for register, each in registers.items()
        for number, (hlc, flash) in enumerate(each.messages)
        if flash.id not in popped and flash.id not in gone
    ]
    # No two have the same register and number.
    return tuple(flash for *_, flash in sorted(found))


def _registers(attributes: Mapping[str, Write]) -> dict[str, _Register]:
    return {
        name: _decoded(write.value)
        for name, write in attributes.items()
        if write.value is not None and name.startswith(PREFIX)
    }


def _encoded(register: _Register) -> bytes | None:
    if not register.messages and not register.popped:
        return None
    messages = [[hlc, *flash] for hlc, flash in register.messages]
    return cbor2.dumps([messages, register.popped])


def _decoded(value: bytes) -> _Register:
    # Another member wrote it: whatever it is, it must not raise.
    try:
        fields = decode(value)
    except WireError:
        fields = None
    register = _Register([], [])
    match fields:
        case [[*messages], [*popped]]:
            for message in messages:
                match message:
                    case [bytes() as hlc, bytes() as id, str() as category, bytes() as text]:
                        register.messages.append((hlc, Flash(id, category, text)))
            register.popped.extend(id for id in popped if type(id) is bytes)
    return register
