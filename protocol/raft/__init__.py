"""Raft as a pure state machine: who leads, what the log holds, what is committed.

- An election picks one leader a term (``election``); it takes proposals and keeps the other
  logs equal to its own (``replication``); what a majority of disks holds is committed.
- A leader can hand over without an election timeout (``transfers``).
- Nothing is said on the strength of a write before storage reports it (``durability``).
- Reads are confirmed by a round of heartbeats instead of an entry (``reads``, ``reading``).
- A follower whose next entries are gone gets the leader's state instead (``snapshots``).
- Only members, and those for which one vouches, are believed (``senders``).
- What no correct node can have sent is refused (``contradictions``).
- Members change one at a time, in force from the entry on (``memberships``,
  ``changing_members``).

No clock, no disk, no socket, no randomness: a turn takes messages in and returns an ``Outbox``.
"""
