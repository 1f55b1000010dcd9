"""
Counters of one member. The node and the web rooms add, the channel and tools read.

Plain integers, changed under the channel's lock or by one thread; a reader sees recent values.
"""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(slots=True)
class Metrics:
    """What happened since the start; every value only grows."""

    commits: int = 0
    """Requests that changed a session."""
    opens: int = 0
    """Look-ups of a session for a request."""
    requests_filtered: int = 0
    """Requests that the valve kept away from session work."""
    writes_on_filtered_paths: int = 0
    """Filtered requests that wrote to their session all the same; the write was kept."""
    flashes_dropped: int = 0
    """Messages for a page that went unread because too many waited in their session."""
    frames_sent: int = 0
    bytes_sent: int = 0
    deltas_sent: int = 0
    """Deltas and whole records, counted for each member they were sent to."""
    deltas_received: int = 0
    deltas_acknowledged: int = 0
    accesses_sent: int = 0
    """Access times announced; they travel in batches."""
    requests_waited: int = 0
    """Requests that waited for fresh state, or to learn of an unknown session."""
    requests_stale: int = 0
    """Requests that were served what was here, although their client had seen more."""
    local_attributes_dropped: int = 0
    """Sessions that lost their attributes which stay on this member, as there were too many."""
    requests_not_waited: int = 0
    """Requests that would have waited, but too many did."""
    inquiries_sent: int = 0
    """Members asked, each for one session."""
    commits_waited: int = 0
    """Commits with a write concern that had to be waited for."""
    commits_short: int = 0
    """Commits that not enough members acknowledged in time. The writes stay."""
    sessions_expired: int = 0
    """Sessions that fell asleep here because they were over."""
    sessions_woken: int = 0
    """Sleeping sessions that were accessed elsewhere, or written to."""
    expirations_sent: int = 0
    """Sessions served last here and over, told to the others; in batches."""
    expirations_dropped: int = 0
    """The same, not told because too many waited."""
    sleeping_dropped: int = 0
    """Sleeping sessions dropped because all together had too many bytes."""
    records_refused: int = 0
    """Sessions unknown here that were over when they came."""
    writers_renamed: int = 0
    """Times that this member went on under a new name in its stamps."""
    sessions_ended_with_principal: int = 0
    """Sessions ended because all those of their principal were, by its bound, or by hand."""
    principals_bounded: int = 0
    """Logins by which a principal had more sessions than it may, each ended one counted."""
    sessions_unwritable: int = 0
    """Sessions ended because no stamp can follow one of theirs."""
    deltas_too_long: int = 0
    """Writes that left as a whole record in pieces, since they would fit into no frame."""
    gaps: int = 0
    """Deltas before which something was missing."""
    partial_records: int = 0
    """Records made without the birth of their session."""
    records_requested: int = 0
    records_repaired: int = 0
    """Whole records sent because two members differed."""
    repair_rounds: int = 0
    """Rounds that this member began, and in which everything was exchanged, both ways."""
    repair_rounds_given_up: int = 0
    """Rounds that came to no end: no answer, or one that brings nothing forward."""
    repair_comparisons: int = 0
    """Requests for leaves that differ; several in one round where its bounds bite."""
    repair_exchanges: int = 0
    """Requests for records; several in one round where they do not fit into one chunk."""
    outboxes_overflowed: int = 0
    sessions_buried: int = 0
    """Writes to sessions that had ended so long ago that their tombstone was dropped."""
    members_suspected: int = 0
    """Silences and lost links of members that were looked into."""
    members_unreachable: int = 0
    """How often a member could be seen through another one only."""
    deltas_relayed: int = 0
    """Deltas and accesses handed on between two members without a link."""
    candidates_refused: int = 0
    """Hints to members for whom there was no room."""
    neighbours_ignored: int = 0
    """Rows of neighbours beyond what one member may list."""
    seeds_ignored: int = 0
    """Addresses of seeds beyond what may be tried."""
    names_forgotten: int = 0
    """Names of vanished members no longer counted because there were too many."""
    datagrams_refused: int = 0
    links_refused: int = 0
    log_lines_suppressed: int = 0
    """Warnings that were counted instead of written, since the same one had just been written."""
    control_refused: int = 0
    """Administrators turned away: another user, too many at a time, a wrong signature."""
    values_undecodable: int = 0
    listener_errors: int = 0
    listener_events_dropped: int = 0
    cookies_ambiguous: int = 0
    tokens_unknown: int = 0
    """Ids that verify and are not, or no longer, known here."""

    def as_dict(self) -> dict[str, int]:
        """Return all counters by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}
