"""Storage as a pure core: what is written when, on any database that keeps its order.

- A turn takes messages in and is then gone through step by step (``writer``).
- Identity, hard state and log (``log_store``); which of two places holds the state machine's
  tables (``state_tables``); answers to reads (``reader``).
- Snapshots are read while writing goes on (``snapshot_source``), and taken in chunk by chunk
  (``snapshot_staging``). Backups read theirs by themselves (``backups``).

No disk is touched here but through ``protocol.table.Database``: RocksDB in a node, memory that
forgets at a crash in the simulator.
"""
