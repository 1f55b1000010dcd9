"""
replsession: web sessions in the memory of every process that serves them.

::

    from replsession import SessionMiddleware
    app = Starlette(routes=..., middleware=[Middleware(SessionMiddleware, secret_key=SECRET)])

The map of the package, from the browser inwards::

    asgi wsgi flask quart    front doors: what users import
    cluster                  the handle of a cluster, and its administration
    control                  the URL that administrators ask; status: what they are told
    web/                     one request: valve, cookies, tracking, exchange, manager, listeners
    channel/                 sockets, threads and clocks around one node
    security/                keys from one secret, certificates, tokens
    node                     one member as a state machine: no I/O, no clock of its own
    membership/ replication/ wire/      who is there; how writes travel; how they are written down
    session/                 stamps, deltas, records and their merge, values, types, the store
    messages events identity config errors metrics

The words:

==============  ====================================================================================
member          a process in the cluster; its *incarnation* is one start of it
node            the state machine inside a member
link            one TLS connection between two members
heartbeat       a signed datagram: a hint to open a link
view            the members that are up, as one member sees it
session         what an application sees; *attribute*: one name and value in it
record          a session as a member keeps it
delta           the writes of one request on one session, as they travel
stamp           (hlc, member): the total order of writes
version         what a record has of each writer, without a gap
outbox          what one member must still get
state transfer  a *joiner* gets everything from a *donor*
repair          two members compare digests and exchange what differs
tombstone       what stays of an ended session, so that no late write brings it back
manager         one application's sessions; *context*: the application's name in the cluster
valve           keeps paths away from session work
==============  ====================================================================================
"""

from __future__ import annotations

from replsession.asgi import SessionMiddleware
from replsession.channel.administration import SessionInfo
from replsession.cluster import Cluster
from replsession.errors import (
    ClusterStartError,
    ConfigError,
    ReplicationTimeout,
    ReplsessionError,
    SessionError,
    SessionTooLarge,
    UnserializableAttribute,
)
from replsession.session.registry import register
from replsession.session.session import Session
from replsession.status import ClusterStatus
from replsession.web.listeners import SessionEvent, SessionListener

__version__ = "0.1.0"

__all__ = [
    "Cluster",
    "ClusterStartError",
    "ClusterStatus",
    "ConfigError",
    "ReplicationTimeout",
    "ReplsessionError",
    "Session",
    "SessionError",
    "SessionEvent",
    "SessionInfo",
    "SessionListener",
    "SessionMiddleware",
    "SessionTooLarge",
    "UnserializableAttribute",
    "register",
]
