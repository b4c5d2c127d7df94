"""Storage core: the log, the state machine's tables and snapshots, on any ordered database.

- ``writer`` takes messages in and runs a turn step by step.
- ``log_store`` keeps identity, hard state and log; ``state_tables`` keeps the state machine's
  tables in two sets, one active, one staging a snapshot; ``history`` keeps the latest changes.
- ``reader`` serves reads, ``scans`` those of many pages by views, each page of a ``key_range``;
  ``lease_reads`` answers keep-alives, and ``read_rights`` decides what a user may read.
- ``snapshot_source`` reads snapshots for followers while writing goes on, ``backups`` for
  backups; ``snapshot_staging`` stages the chunks of the leader's snapshot.
- ``log_retention`` compacts the log; ``outbox`` holds the messages of one step.
- ``recovering`` and ``restoring`` make the first member of a new cluster, offline.

The disk is accessed only through ``protocol.state.tables.Database``: RocksDB in a node; in the
simulator, memory that loses unsynced writes in a crash.
"""
