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
    frames_sent: int = 0
    bytes_sent: int = 0
    deltas_sent: int = 0
    """Deltas and whole records, counted for each member they were sent to."""
    deltas_received: int = 0
    deltas_acknowledged: int = 0
    accesses_sent: int = 0
    """Access times announced; they travel in batches."""
    gaps: int = 0
    """Deltas before which something was missing."""
    partial_records: int = 0
    """Records made without the birth of their session."""
    records_requested: int = 0
    records_repaired: int = 0
    """Whole records sent because two members differed."""
    repair_rounds: int = 0
    outboxes_overflowed: int = 0
    sessions_buried: int = 0
    """Writes to sessions that had ended so long ago that their tombstone was dropped."""
    datagrams_refused: int = 0
    links_refused: int = 0
    values_undecodable: int = 0
    listener_errors: int = 0
    listener_events_dropped: int = 0
    cookies_ambiguous: int = 0
    tokens_unknown: int = 0
    """Ids that verify and are not, or no longer, known here."""

    def as_dict(self) -> dict[str, int]:
        """Return all counters by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}
