"""Tight limits: limits of the real code low enough for a small run to reach them."""

from collections.abc import Iterator
from contextlib import contextmanager

from protocol import compaction
from protocol.client import initial_entries, multiplexer, pipeline, refusals, session
from protocol.gateway import batching
from protocol.raft import key_leases as raft_leases
from protocol.raft import lease_checkpoints, membership_changes, replication
from protocol.state import batches, sessions
from protocol.state import key_leases as state_leases
from protocol.storage import history, log_store, scans, snapshot_source, writer
from tests.simulation.options import Options

PLACES = (
    (snapshot_source, "CHUNK_BYTES"),
    (replication, "APPEND_BYTES_MAX"),
    (membership_changes, "PROMOTION_LAG_MAX"),
    (log_store, "RECOVERED_ENTRIES"),
    (writer, "APPLY_ENTRIES_MAX"),
    (writer, "READ_BYTES_MAX"),
    (session, "UNACKNOWLEDGED_MAX"),
    (batches, "UNACKNOWLEDGED_MAX"),
    (batching, "BATCH_OPERATIONS_MAX"),
    (batching, "LARGE_OPERATIONS"),
    (pipeline, "BATCH_OPERATIONS_MAX"),
    (multiplexer, "BATCH_OPERATIONS_MAX"),
    (multiplexer, "FULL_FRAME_REQUESTS"),
    (compaction, "HELD_LOG_FACTOR"),
    (history, "PAGE_EVENTS_MAX"),
    (history, "PAGE_EXAMINED_MAX"),
    (scans, "SCANS_MAX"),
    (scans, "WAITING_ENTRIES_MAX"),
    (refusals, "GRACE_SECONDS"),
    (initial_entries, "PAGE_ENTRIES"),
    (sessions, "BLOCK_RESULTS"),
    (sessions, "SESSIONS_MAX"),
    (batches, "LEASE_TTL_MS_MIN"),
    (state_leases, "LEASE_KEYS_MAX"),
    (raft_leases, "LEASES_NAMED_MAX"),
    (lease_checkpoints, "LEASES_NAMED_MAX"),
    (lease_checkpoints, "TTL_MS_MIN"),
    (lease_checkpoints, "CHECKPOINT_MS"),
    (state_leases, "ENDED_KEYS_MAX"),
)


@contextmanager
def tight_limits(options: Options) -> Iterator[None]:
    """Apply the limits of a run within the context."""
    before = [(module, name, getattr(module, name)) for module, name in PLACES]
    for module, name in PLACES:
        limit = getattr(options.tight, name.lower())
        if limit is not None:
            setattr(module, name, limit)
    try:
        yield
    finally:
        for module, name, value in before:
            setattr(module, name, value)
