"""
Every bound and every time of the cluster, in one place, with unit and reason.

Values are checked at construction, alone and against each other: a :class:`ConfigError` names the
field, what was given and what is allowed. Nothing here reads a file or the environment.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields

from replsession.errors import ConfigError

KIB = 1024
MIB = 1024 * KIB

VALUE_BYTES_CEILING = 16 * MIB
"""A longer value is refused wherever it comes from, so no member may allow more."""
ITEM_HEAD_BYTES = 4 * KIB
"""Room for what stands around a value on the wire: names, stamps, the version of its record."""

MULTICAST_GROUP = "228.0.0.4"
MULTICAST_PORT = 45564
RECEIVER_PORT = 4000
AUTO_BIND_PORTS = 100
MAX_INACTIVE_INTERVAL_S = 1800
"""Source of the five: Tomcat's ``McastService``, ``NioReceiver`` and ``StandardContext``."""

INTERNAL_RECORDS_S = 7 * 24 * 3600.0
"""How long the end of all sessions of a principal is remembered after it was last said: longer than
any member is likely to be cut off from the others and return with sessions of its own."""

LOCAL_SESSIONS_MAX = 10_000
"""Sessions of which attributes are kept that stay on this member; what is kept are objects of any
size, which cannot be counted in bytes. Beyond it those of the session last used longest ago go."""

LOG_REPEATS_S = 60.0
"""The same warning about the same member, host or session is logged once in so many seconds."""
LOG_REPEATS_MAX = 256
"""Different warnings of which that is remembered; what is beyond it is counted together by its
text, so that a flood from ever new addresses is one line, too."""

DRAIN_S_MAX = 3600.0
"""Longer than any orchestrator waits for a process that it has asked to stop."""
CONTROL_CONNECTIONS_MAX = 16
"""Administrators that a member's control socket answers at a time; more are turned away."""
CONTROL_REQUEST_BYTES_MAX = 64 * KIB
"""Longest request to a member's control socket or URL; its longest part is a list of ids."""
CONTROL_ANSWER_BYTES_MAX = 16 * MIB
"""Longest answer that the command line reads; a page of sessions is far below it."""
CONTROL_TIMEOUT_S = 10.0
"""How long a connection to the control socket may be idle, and one answer may take to be sent."""
CONTROL_PAGE_SESSIONS = 500
"""Sessions in one answer, about 150 KiB; who wants more asks for the next page."""
CONTROL_PAGE_RECORDS = 20_000
"""Records looked at for one page, so that a search that finds little ends soon as well."""
CONTROL_VALUE_CHARACTERS = 4096
"""Characters shown of one value."""
CONTROL_CLOCKS_APART_S = 600.0
"""How far the clocks of an administrator and of a member may be apart for a signed request."""
CENSUS_SHARE = 0.05
"""Largest part of the time that is spent on counting sessions, however often they are asked for."""

UNCOUNTED_MAX = 500
"""Records that changed and wait for their digest, after a turn. A digest takes some 10 us, so these
and what one message brings are made within milliseconds when a round of repair begins."""

PIECES_OPEN_MIN = 5
"""Ways in which records in pieces come over one link at the same time."""


def is_number(value: object) -> bool:
    """Tell whether *value* is an int or a float, and neither a bool nor nan."""
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value


@dataclass(frozen=True, slots=True)
class Limits:
    """What one session may be, and how much one member keeps and sends. Sizes are bytes."""

    value_bytes_max: int = 256 * KIB
    """Encoded size of one attribute's value."""
    session_bytes_max: int = MIB
    """Encoded size of all values of a session; a record must fit well into a few frames."""
    attributes_max: int = 512
    """Attributes of one session; also bounds the stamps of removed ones."""
    flashes_max: int = 100
    """Messages that wait for a page; beyond it the oldest go: a client that shows no page, as a
    program that uses an interface does, would collect them for ever."""
    value_depth_max: int = 32
    """Containers inside one another. ``cbor2`` recurses natively: deeper values kill a process."""
    value_items_max: int = 10_000
    """Items of all containers of one value, so that checking it takes a bounded time."""
    frame_bytes_max: int = 4 * MIB
    """A longer frame closes the link before memory is taken for it."""
    chunk_bytes: int = 64 * KIB
    """A frame of a state transfer, and of the delta stream, is closed when it is this long."""
    piece_bytes: int = 32 * KIB
    """A whole record with more than this is sent in pieces, so that small frames get between."""
    window_bytes: int = MIB
    """Sent to one member and not acknowledged; more waits in the outbox, where it is merged."""
    outbox_deltas_max: int = 20_000
    """Sessions waiting for one member. Beyond it the outbox is emptied and repair takes over."""
    outbox_bytes_max: int = 32 * MIB
    """The same in bytes: what a member that hangs may cost each of the others."""
    transfer_window_chunks: int = 4
    """Chunks of a state transfer under way; bounds the donor's extra memory."""
    transfers_at_once_max: int = 2
    """State transfers that one donor serves; further joiners are sent to the next one."""
    repair_records_max: int = 8_000
    """Records of the buckets whose leaves are compared at once; a bucket with more is compared by
    itself. Bounds the time that one message of a repair round takes, and its size."""
    repair_digests_max: int = 2_000
    """Digests of records in one message of a repair round, about 60 KiB; a leaf with more is told
    of by itself."""
    members_max: int = 64
    """Members and candidates known at a time: a full mesh beyond that is the wrong tool."""
    links_max: int = 256
    """Links open at a time, those without a HELLO included; also members that one member may list
    as its neighbours."""
    seeds_max: int = 256
    """Addresses tried beside the members known: static ones, and what DNS names resolve to."""
    warm_records_max: int = 4096
    """Records kept as objects; all others are bytes, which garbage collection does not visit."""
    sleeping_bytes_max: int = 64 * MIB
    """Sessions that are over, kept until everybody has told its news; beyond it the longest asleep
    are dropped."""
    given_up_max: int = 10_000
    """Sessions remembered that were dropped before all members were known to have what was written
    to them here; beyond it this member takes another name in its stamps."""
    expirations_max: int = 10_000
    """Notices of expiry that wait to be sent; without one the others reap later, and alone."""
    wanted_records_max: int = 10_000
    """Whole records asked for and not yet received; the rest is found by repair."""
    pieces_open_max: int = 256
    """Records of which some pieces came and others are under way, for each link. At least 5: the
    outbox, a state transfer, answers to inquiries and both sides of repair send one each at a time,
    and with fewer they would push one another out."""
    forgotten_max: int = 10_000
    """Members whose dropped tombstones are remembered."""
    waiting_requests_max: int = 256
    """Requests that wait for fresh state at a time; further ones are served what is here."""
    inquiries_per_s_max: int = 200
    """Inquiries for sessions unknown here or over: after a restart of everything each browser
    brings an id that verifies and that nobody knows."""
    met_members_max: int = 4096
    """Ids of members that had a link once: of all others it is not known whether they live."""
    unknown_sessions_max: int = 10_000
    """Sessions remembered for ``unknown_retention_s`` as known to nobody."""
    tickets_max: int = 1024
    """Commits that wait for acknowledgements at a time; further ones fail at once."""

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if type(value) is not int or value < 1:
                raise ConfigError(item.name, value, "a whole number above 0")
        if self.pieces_open_max < PIECES_OPEN_MIN:
            allowed = f"a whole number of at least {PIECES_OPEN_MIN}"
            raise ConfigError("pieces_open_max", self.pieces_open_max, allowed)
        if self.value_bytes_max > VALUE_BYTES_CEILING:
            allowed = f"at most {VALUE_BYTES_CEILING}, which every member takes"
            raise ConfigError("value_bytes_max", self.value_bytes_max, allowed)
        longest = max(self.value_bytes_max, self.piece_bytes) + ITEM_HEAD_BYTES
        if longest > self.item_bytes_max:
            raise ConfigError(
                "frame_bytes_max",
                self.frame_bytes_max,
                f"at least {longest + self.chunk_bytes}: chunk_bytes ({self.chunk_bytes}), the "
                f"greater of value_bytes_max ({self.value_bytes_max}) and piece_bytes "
                f"({self.piece_bytes}), and {ITEM_HEAD_BYTES} around it",
            )

    @property
    def item_bytes_max(self) -> int:
        """Longest item that fits into a frame, whatever is in the frame already."""
        return self.frame_bytes_max - self.chunk_bytes


@dataclass(frozen=True, slots=True)
class Timing:
    """When things happen. All are seconds of the monotonic clock."""

    heartbeat_interval_s: float = 0.5
    """Between two heartbeats, and between two pings on a link that is otherwise silent."""
    drop_after_s: float = 3.0
    """Silence after which a member has disappeared. Must exceed twice ``heartbeat_interval_s``."""
    suspect_s: float = 1.0
    """How long a silent member has to answer a probe, a fresh dial, or through another member,
    before it is gone."""
    hello_timeout_s: float = 3.0
    """A link on which no HELLO came by then is closed."""
    acknowledge_within_s: float = 0.01
    """Batches that came are acknowledged together within so long, or when a quarter of the window
    has come. Must be less than ``acknowledge_timeout_s``."""
    acknowledge_timeout_s: float = 5.0
    """A batch unacknowledged for so long means the link carries nothing: it is closed."""
    redial_min_s: float = 0.1
    """First pause before a member is dialled again; doubles at each failure."""
    redial_max_s: float = 5.0
    """Longest pause before a member is dialled again."""
    candidate_retention_s: float = 3600.0
    """How long a member that disappeared is dialled without any sign of it."""
    neighbours_interval_s: float = 30.0
    """Between two times that members tell each other anew with whom they have links. Changes are
    told at once; this is for what was missed or misunderstood."""
    resolve_interval_s: float = 5.0
    """Between two times that the DNS names of members are resolved."""
    forget_after_s: float = 3600.0
    """How long the name of a member that vanished without a goodbye is counted."""
    discovery_s: float = 1.0
    """How long a starting member looks for others before it is the first one."""
    transfer_timeout_s: float = 60.0
    """Bound on a state transfer, all donors together. Source: Tomcat ``stateTransferTimeout``."""
    transfer_progress_s: float = 3.0
    """Between two lines of the log that say how far a long state transfer is."""
    transfer_stall_s: float = 5.0
    """A donor that sends nothing for so long is given up for the next one."""
    repair_interval_s: float = 5.0
    """Between two repair rounds that a member begins."""
    repair_stall_s: float = 5.0
    """A repair round without progress for so long is given up."""
    request_again_s: float = 1.0
    """Before a whole record is asked for once more."""
    fresh_wait_s: float = 0.005
    """How long a request waits for a delta that is surely under way, before it asks for it."""
    fresh_second_s: float = 0.02
    """After so long without an answer the other members are asked as well."""
    fresh_again_s: float = 0.05
    """After that long all are asked once more while a writer was never met: it may just begin."""
    fresh_timeout_s: float = 0.25
    """Longest wait of a request for fresh state. Must exceed ``fresh_second_s``."""
    join_wait_s: float = 5.0
    """The same while this member has no state yet: it must call no session unknown."""
    unknown_retention_s: float = 2.0
    """How long nobody is asked again for a session that all had called unknown, or over."""
    tombstone_retention_s: float = 86_400.0
    """How long an ended session is remembered, so that no late write brings it back."""
    tombstone_margin_s: float = 300.0
    """A tombstone so near to its retention stays out of the digest (docs/design.md, rule 2)."""
    access_interval_s: float = 300.0
    """Longest time between two announcements of a session's last access."""
    access_batch_s: float = 1.0
    """Announcements of accesses are collected for so long and leave in one message."""
    expiry_grace_s: float = 2.0
    """How much longer than a tenth of its interval others wait for news of a session's access
    before they call it over. Must exceed ``access_batch_s``, and covers the way here."""
    sweep_interval_s: float = 0.25
    """Between two visits to one of the store's buckets."""
    late_timer_s: float = 0.25
    """A timer later than this: we were stopped ourselves, so nobody else is called silent."""
    drain_s: float = 0.0
    """How long a member goes on serving after SIGTERM, while it says that it is not ready: at least
    twice the time in which balancers look again. 0: the server stops at once."""

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if not is_number(value) or not 0 <= value < math.inf:
                raise ConfigError(item.name, value, "a number of seconds above 0")
            if not value and item.name != "drain_s":
                raise ConfigError(item.name, value, "a number of seconds above 0")
        if self.drain_s > DRAIN_S_MAX:
            raise ConfigError("drain_s", self.drain_s, f"0 to {DRAIN_S_MAX:g} seconds")
        if self.drop_after_s <= 2 * self.heartbeat_interval_s:
            raise ConfigError(
                "drop_after_s",
                self.drop_after_s,
                f"more than twice heartbeat_interval_s ({self.heartbeat_interval_s} s)",
            )
        if self.acknowledge_within_s >= self.acknowledge_timeout_s:
            raise ConfigError(
                "acknowledge_within_s",
                self.acknowledge_within_s,
                f"less than acknowledge_timeout_s ({self.acknowledge_timeout_s} s)",
            )
        if self.fresh_second_s >= self.fresh_timeout_s:
            raise ConfigError(
                "fresh_second_s",
                self.fresh_second_s,
                f"less than fresh_timeout_s ({self.fresh_timeout_s} s)",
            )
        if self.access_batch_s >= self.expiry_grace_s:
            raise ConfigError(
                "expiry_grace_s",
                self.expiry_grace_s,
                f"more than access_batch_s ({self.access_batch_s} s)",
            )
        if self.tombstone_margin_s >= self.tombstone_retention_s:
            raise ConfigError(
                "tombstone_margin_s",
                self.tombstone_margin_s,
                f"less than tombstone_retention_s ({self.tombstone_retention_s} s)",
            )


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """What a node needs to know; the defaults are those of the product."""

    limits: Limits = Limits()
    timing: Timing = Timing()


@dataclass(frozen=True, slots=True)
class ClusterSettings:
    """
    Where and how a member meets the others; the facade that checks values is ``cluster.py``.

    ``secret`` never stands in a ``repr``.
    """

    name: str
    secret: str | None = field(default=None, repr=False)
    bind: str = "auto"
    port: int = RECEIVER_PORT
    auto_bind: int = AUTO_BIND_PORTS
    member_name: str | None = None
    multicast: tuple[str, int] | None = (MULTICAST_GROUP, MULTICAST_PORT)
    on_this_host: bool = False
    """Members are on this host only: loopback addresses will do."""
    node: NodeConfig = NodeConfig()
    seeds: tuple[str, ...] = ()
    """Where members may be found beside multicast: ``address``, ``address:port``, DNS name."""
    control: str | None = None
    """``"auto"``, or the directory of the control socket; None: there is none."""
