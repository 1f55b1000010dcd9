"""What a node wants done: the answer of :meth:`Node.ready`, to be carried out by its driver."""

from __future__ import annotations

from dataclasses import dataclass

from replsession.events import Event
from replsession.membership.membership import Close, Dial
from replsession.membership.mesh import LinkId
from replsession.replication.waits import Waiting


@dataclass(frozen=True, slots=True)
class Ready:
    """Everything the channel must do now."""

    datagrams: list[bytes]
    """Heartbeats to sign and to send to the group."""
    frames: list[tuple[LinkId, bytes]]
    """Bytes for each link, in this order."""
    links: list[Dial | Close]
    """Orders about links, after the frames."""
    events: list[Event]
    done: list[Waiting]
    """Requests that need not wait any more."""
    wake_at: float
    """Call ``timer_fired`` no later than this."""
