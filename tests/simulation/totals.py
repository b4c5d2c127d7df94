"""Totals: counters over many runs, for the summary and for tests."""

import msgspec


class Totals(msgspec.Struct):
    """The counters of one or more runs."""

    seeds: int = 0
    events: int = 0
    elections: int = 0
    commits: int = 0
    writes: int = 0
    reads: int = 0
    reads_by_lease: int = 0
    pipelines: int = 0
    transactions: int = 0
    stale_reads: int = 0
    scans: int = 0
    reads_of_many: int = 0
    leases: int = 0
    keep_alives: int = 0
    leases_expired: int = 0
    leases_listed: int = 0
    turns: int = 0
    turns_awaited: int = 0
    fenced_writes: int = 0
    fenced_off: int = 0
    deliveries: int = 0
    shared_frames: int = 0  # with requests of several calls
    cancelled: int = 0
    unknown_outcomes: int = 0
    retries: int = 0
    crashes: int = 0
    crashes_of_all: int = 0
    unsynced_lost: int = 0
    failed_writes: int = 0
    slow_disks: int = 0
    hung_disks: int = 0
    full_disks: int = 0
    storage_full: int = 0
    pauses: int = 0
    lost: int = 0
    duplicated: int = 0
    straggled: int = 0
    clogs: int = 0
    starvations: int = 0
    halves: int = 0
    isolations: int = 0
    one_way_cuts: int = 0
    bridges: int = 0
    chains: int = 0
    transfers: int = 0
    memberships: int = 0
    removals_asked: int = 0
    additions_asked: int = 0
    late_requests: int = 0
    compactions: int = 0
    snapshots: int = 0
    watched: int = 0
    pages_fetched: int = 0
    watches_compacted: int = 0
    initial_watches: int = 0
    mirrored: int = 0
    views_gone: int = 0
    undecided: int = 0  # searches for an order that took too long
    streams_closed: int = 0
    full_pipes: int = 0
    bursts: int = 0
    short_reigns: int = 0
    desertions: int = 0
    encoded_runs: int = 0
    bootstraps: int = 0
    foundings: int = 0
    lost_directories: int = 0
    copies: int = 0
    copies_found: int = 0
    moves: int = 0
    ended_as_removed: int = 0
    hostile_frames: int = 0
    removals_forced: int = 0
    mixed_runs: int = 0
    rights_changed: int = 0
    reads_denied: int = 0
    former_users_denied: int = 0
    writes_denied: int = 0
    watched_by_users: int = 0
    watches_denied: int = 0
    upgrades: int = 0
    downgrades: int = 0
    refused_as_newer: int = 0

    def add(self, other: "Totals") -> None:
        """Add the counters of another run."""
        for name in self.__struct_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))
