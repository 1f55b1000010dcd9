"""Links between hosts: their two ends, and the bytes on their way."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple, Protocol

from replsession import messages as m
from replsession.identity import Address
from replsession.node import Node
from replsession.session.delta import Delta
from replsession.wire import encoding
from replsession.wire.framing import HEAD

WATCHED = (
    *(m.Deltas, m.StateChunk, m.Accesses, m.RecordAnswer),
    *(m.RecordDigests, m.RepairRequest, m.RepairRecords),
)
Input = Callable[[Node, float], object]
"""An input of a node, which gets the node and its own time."""


class Chunk(NamedTuple):
    """Bytes on their way; ``messages`` are those whose last byte is in here."""

    data: bytes
    messages: tuple[m.Message, ...] = ()
    closes: str | None = None
    """Not bytes but the end of the link, and why."""


class Host(Protocol):
    """A process, as the network sees it."""

    name: str
    address: Address
    is_alive: bool
    is_paused: bool
    node: Node

    def post(self, call: Input) -> None:
        """Give an input to the node, now or when the process goes on."""

    def received(self, end: End, chunk: Chunk) -> None:
        """Give bytes to the node."""


@dataclass(slots=True, eq=False)
class End:
    """One end of a link, with what travels from here to the other end."""

    id: int
    host: Host
    other: End = field(init=False)
    opened_at: float = 0.0
    """When the other end knows of the link."""
    free_at: float = 0.0
    """What is sent now arrives no earlier."""
    held: list[Chunk] = field(default_factory=list)
    epoch: int = 0
    is_closed: bool = False
    batches: dict[int, tuple[Delta, ...]] = field(default_factory=dict)
    """What was sent in each batch; for checking acknowledgements."""

    def lose(self) -> None:
        """Lose what is under way from here."""
        self.epoch += 1
        self.held.clear()


def chunk_of(end: End, frames: Sequence[bytes], everything: bool) -> Chunk:
    """
    Return frames as one chunk, with the messages that the checkers look at.

    Args:
        everything: All messages are wanted, to be shown.
    """
    messages: list[m.Message] = []
    for frame in frames:
        kind = frame[HEAD.size - 1]
        if everything or encoding.KINDS[kind] in WATCHED:
            message = encoding.decode(kind, frame[HEAD.size :])
            messages.append(message)
            if isinstance(message, m.Deltas):
                end.batches[message.batch] = message.deltas
    return Chunk(b"".join(frames), tuple(messages))


def news_in(message: m.Message) -> Sequence[Delta | m.Access]:
    """Return what a message says of sessions."""
    if isinstance(message, m.Deltas):
        return message.deltas
    if isinstance(message, m.StateChunk | m.RepairRequest | m.RepairRecords | m.RecordAnswer):
        return message.records
    return message.accesses if isinstance(message, m.Accesses) else ()


def parts(chunk: Chunk, rng: Random) -> Iterator[Chunk]:
    """Yield a chunk cut anywhere; its messages count as arrived with the last part."""
    data = chunk.data
    for _ in range(rng.choice((0, 0, 1, 2))):
        at = rng.randrange(len(data))
        if at:
            yield Chunk(data[:at])
            data = data[at:]
    yield Chunk(data, chunk.messages)
