"""Raft: one replicated log that survives crashes, as a pure state machine.

This is the algorithm of the Raft paper (Ongaro and Ousterhout, "In Search of an Understandable
Consensus Algorithm", extended version), cited as Raft §, with most extensions of Ongaro's
dissertation. The package has no clock, disk, socket or randomness: ``RaftNode`` takes messages and
the time in, and each turn ends with an ``Outbox`` of messages to peers and to the node's other
processes. The same code therefore runs in production, in scenario scripts and in a simulator that
replays a seed. Start reading at ``node.py`` (a turn), ``handlers.py`` (the table of roles and
messages), ``state.py`` and ``roles.py`` (what they change). ``proposals.py`` appends what clients
write, and ``pacing.py`` bounds the rate of commit notices.


Turn
====

A turn takes in all messages that have arrived. Handlers change the state and record facts: which
entries a follower holds, which read round it has confirmed. ``RaftNode.flush`` then draws a
leader's conclusions once: it advances the commit index, confirms reads, promotes a learner, hands
over, and replicates. Batching falls out of this: proposals that arrive together are written by one
fsync and replicated by one message to each follower (dissertation §10.2.2).


Election (``election.py``, ``check_quorum.py``)
===============================================

A follower without contact for a random election timeout first asks for pre-votes (dissertation
§9.6): would the others vote for it in the next term? Only a majority of pre-votes starts the
election, so that a node that was cut off cannot raise the term and depose a working leader when it
returns. A voter grants one vote in each term (Raft §5.2), to a candidate whose log is at least as
up to date as its own (Raft §5.4.1). It need not know the candidate as a member: the vote may
complete a majority of a membership that has not reached its log yet (dissertation §4.1).

Leader stickiness (dissertation §4.2.3, §9.6): a node that leads, or that a leader has contacted
within the minimum election timeout, grants no vote and enters no candidate's term. Only a candidate
that the leader itself told to campaign is exempt. Check-quorum (dissertation §6.2) is the
counterpart: a leader that no majority has answered for a maximum election timeout steps down, which
frees those followers that it can still reach.

A learner does not campaign, but for one case. If an uncommitted membership makes a voter of it, and
its own log ends later without that membership, it must refuse a candidate that cannot win without
its vote, while no voter has its entries. It then campaigns itself, which needs no vote of its own
(dissertation §4.2.2), and hands over to a voter once it has committed an entry.

A new leader appends a no-op entry; once it commits, so do all entries of earlier terms (Raft §8).


Replication (``replication.py``, ``progress.py``, ``heartbeats.py``)
====================================================================

The leader tracks one state for each follower, as etcd-io/raft does. In PROBE it sends one message
at a time, to find the last common entry. A refusal carries a hint, the follower's last entry that
is not later than the refused one in index or term, so that each round trip skips a whole
conflicting term (Raft §5.3). In REPLICATE it sends a pipeline of messages without waiting for
replies. In SNAPSHOT it sends chunks of its state.

Every queue is bounded: 1 MiB in a message, 64 messages or 8 MiB in flight to a follower, and 32 MiB
of uncommitted proposals, beyond which proposals are refused. The newest entries are kept in memory.
Storage reads older ones for followers that lag far behind; the leader never waits for it.

Heartbeats are messages of their own. One does not check the log, so its commit index never exceeds
the follower's match index. Its reply proves that the follower is reachable; if entries are still
unacknowledged then, the leader provokes an answer to them, and lost messages are sent again.


Durability (``durability.py``)
==============================

No message leaves before the state that it depends on is durable. Term and vote are written before a
vote is granted and before a candidate requests votes; entries are written before they are
acknowledged. The core does not wait: it hands storage a numbered write, keeps the dependent
messages as promises, and sends them when storage reports that number durable. Storage persists
writes in order. The leader writes its own entries in parallel with replicating them (dissertation
§10.2.1), and counts its own disk only after its own write is acknowledged.


Commit (``commit.py``)
======================

An entry is committed when it belongs to the leader's current term and the disks of a majority of
the voters hold it; all earlier entries are committed with it. Entries of earlier terms are never
committed by counting (Raft §5.4.2, figure 8). Followers learn the commit index from the next
entries or heartbeat, or from a commit notice if neither follows within some milliseconds.


Reads (``reads.py``, ``leader_lease.py``)
=========================================

Linearizable reads need no log entry (ReadIndex, dissertation §6.4). The leader notes its commit
index, confirms by a round of heartbeats to a majority that it still leads, and serves the read once
the noted index is applied. A follower asks the leader for that index and serves the read itself.
Reads that arrive together share a round. A new leader starts no round before an entry of its term
is committed. Its own storage reads while the round is under way, and its gateway withholds the
values until the round is confirmed.

A client may ask for a leader-lease read instead (dissertation §6.4.1), which needs no round trip.
Each reply to a heartbeat promises that its sender votes for no other candidate until its minimum
election timeout has passed. The leader relies on three quarters of that, counted from the moment it
sent the heartbeat. The promise is durable, so that a restart does not break it. A leader that has
sent TimeoutNow relies on no lease in that term. Of all reads, only these trust clocks: see Caveats.


Leases on keys (``key_leases.py``, ``key_lease_clock.py``, ``lease_checkpoints.py``)
====================================================================================

Keys may go with a lease, and end with it. The leader alone measures the time of leases. It proposes
an entry that ends those which no client has kept alive, and every node ends them when it applies
that entry. A keep-alive is confirmed like a read, by a round of heartbeats, from whose beginning
the lease lasts anew. A new leader starts every lease anew. From time to time, a leader records how
much of a long lease is left (``lease_records.py``), and its successor starts the lease with that:
each change of leader delays the end of a silent lease by a bounded time.


Snapshots (``snapshots.py``)
============================

If the entries that a follower needs are compacted, it receives the state machine itself (Raft §7),
in chunks, one in flight at a time. The follower's storage stages them and installs the snapshot
atomically with the new start of the log. After an interruption, the chunks continue where the
follower's disk is, even under another leader that has a snapshot of the same entry. Writes and
heartbeats go on meanwhile. The leader's storage keeps the snapshot, and the log after it, until
memory can serve the follower or until the follower has been silent for too long.


Membership (``membership_changes.py``, ``membership_history.py``, ``quorum_guard.py``)
======================================================================================

Members change one at a time (dissertation §4.1), so that the majorities before and after a change
overlap. A membership is in force from the moment its entry is appended, and rolled back if that
entry is truncated. Another change may begin only after the previous one, and an entry of the
leader's own term, are committed; the dissertation omits the latter condition, and is unsafe there.

A new node joins as a learner: it receives the log and does not vote. The leader promotes it once it
has caught up (dissertation §4.2.1), and drops a learner that has never answered. A removal is
guarded: it begins only when a majority of the voters that it leaves has answered heartbeats sent
after the request. A forced removal skips this check. A leader that removes itself leads until that
is committed (dissertation §4.2.2). A removed node that still campaigns is notified by the members,
and believes two of them, one if no leader makes contact for half a minute, or its own log
(``removal.py``).


Mixed versions (``levels.py``)
==============================

Nodes of two versions work side by side while a cluster is upgraded. The membership records which
commands each member can apply, and the leader appends no others, so that no member skips an entry.
The leader learns of a change from the replies to heartbeats, and records it by a membership entry.


Leadership transfer (``transfer.py``)
=====================================

A leader hands over on request, before it stops, and away from a disk that is short of space
(dissertation §3.10). It refuses proposals, waits until its successor holds the whole log, and sends
it TimeoutNow; the successor campaigns at once, without a pre-vote. If no other leader has emerged
by the next quorum check, the old one resumes its work; at the latest after ten minimum election
timeouts by its own clock, because the timer that says when to check may be stopped.


Joining, founding, recovery (``admission.py``)
==============================================

A new node founds a cluster of one, forms one together with a list of expected nodes, or asks to
join an existing one. Founding waits for a quiet period in which a member of another cluster may
claim the node's address. Of a list of expected nodes, only one founds, while all others answer, and
its first membership lists all of them. A node that lost its data returns under a new id and
replaces the member at its address, once that one has stopped answering. A member that starts at
another address announces it, and the leader lists it there. So does a node that was removed while
it was away: its own log still lists it. The leader does not add it, and the others tell it.

After a restart, the node knows the applied entries to be committed, and learns of later ones from a
leader. A cluster that has lost its majority for good cannot be repaired by Raft; an operator
rebuilds it offline from the best remaining copy (``actors/recovering.py``), and may lose writes.


Stalled and full disks (``transfer.py``, ``space.py``)
======================================================

Heartbeats need no disk, so a leader with a stalled one would keep its followers and commit nothing.
Each node checks its storage once in a maximum election timeout. If one write stays unanswered for
three of these, storage is stalled: a leader sends TimeoutNow to the most up-to-date voter and steps
down, and no such node campaigns or accepts entries. A leader refuses commands that let the state
grow while a majority of the disks has no room for it. Deletes remain possible: the reserve that is
left is for them.


Caveats
=======

Assumed, and not defended against:

- Clocks. Safety depends on none, except for leader-lease reads and leases on keys
  (``clock_rates.py``). While the leader's clock measures three quarters of an election timeout, no
  voter's may measure a whole one; while that of a lease's holder measures the lease's TTL, the
  leader's may not measure four thirds of it; and no clock may stand still while its node is
  suspended. Liveness needs timeouts well above the round trip (Raft §5.6).
- Disks. A write that storage has reported durable stays, and reads return what was written. A node
  that lost its data must return under a new id, never as an empty member under its former one.
- Network. Messages may be lost, delayed, repeated and reordered, but not altered. Without keys, any
  host that reaches the peer port can act as a member.
- Only crash faults are tolerated. Messages that no correct node sends are refused
  (``contradictions.py``), and one broken member cannot raise terms without limit, remove others or
  have unknown nodes believed (``senders.py``). A malicious member can still do harm.
- A copied data directory duplicates a node. It is detected only if the original answers at its
  former address when the copy starts (``moving.py``).

Left out: joint consensus (Raft §6), so that replacing several voters takes several steps; witnesses
and election priorities; followers that forward entries to other followers.
"""
