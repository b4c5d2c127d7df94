"""Storage core: the log, the state machine's tables and snapshots, on any ordered database.

- ``writer`` takes messages in and runs a turn step by step.
- ``log_store`` keeps identity, hard state and log; ``state_tables`` keeps the state machine's
  tables in two sets, one active, one staging a snapshot; ``reader`` serves reads.
- ``snapshot_source`` reads snapshots for followers while writing goes on, ``backups`` for
  backups; ``snapshot_staging`` stages the chunks of the leader's snapshot.

The disk is accessed only through ``protocol.state.tables.Database``: RocksDB in a node; in the
simulator, memory that loses unsynced writes in a crash.
"""
