"""Hostile: frames that no correct node sends, from a stranger and from a broken member.

The broken member sends absurd or false messages. A member that lies plausibly, as by
acknowledging entries that it does not hold, could break any cluster and is not simulated.
"""

from typing import Any

from protocol.entry import EntryKind, LogEntry
from protocol.messages.peer import (
    PEER_PROTOCOL_VERSION,
    AppendEntries,
    AppendEntriesReply,
    ForwardProposal,
    Heartbeat,
    HeartbeatReply,
    Invitation,
    JoinRequest,
    RemovalNotice,
    RequestVote,
    RequestVoteReply,
    TimeoutNow,
)
from protocol.raft.node import RaftNode
from protocol.ranges import INCARNATION_MAX
from protocol.state.commands import Batch, Insert, Write
from protocol.state.levels import STATE_LEVEL
from protocol.wire import Malformed, decode_peer_frame, encode
from tests.simulation.cluster import CLUSTER, Cluster
from tests.simulation.node import Node

STRANGER = b"stranger".ljust(16, b"\0")
FOREIGN = b"another cluster".ljust(16, b"\0")
FAR = 1_000_000  # beyond the largest jump of a term by one sender
OUT_OF_RANGE = (1 << 64) - 1
FRAMES_MAX = 5


class Hostile:
    """A stranger, and the one broken member of a run."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._chance = cluster.setting.chance
        self._broken: Node | None = None

    def strike(self) -> None:
        """Send a few frames to a random node."""
        if self._broken is None:
            self._broken = self._chance.choice(list(self._cluster.nodes.values()))
        running = [node for node in self._cluster.running if node is not self._broken]
        if not running:
            return
        target = self._chance.choice(running)
        core = None if target.life is None else target.life.replicator.core
        if core is None:
            return
        for _ in range(self._chance.randint(1, FRAMES_MAX)):
            if self._chance.random() < 0.5:
                incarnation = self._number(1, 1 << 20)
                listed = core.membership.get(core.id)
                taken = target.advertised if listed is None else listed.address
                message = self._of_stranger(core, taken)
                self._send(self._broken, target, STRANGER, incarnation, message)
            else:
                self._speak_as_member(self._broken, target, core)

    def _speak_as_member(self, broken: Node, target: Node, core: RaftNode) -> None:
        life = broken.life
        if life is None or life.replicator.core is None:
            return
        if core.membership.voters <= {broken.id}:
            return  # the claim of a majority is true
        incarnation = life.replicator._incarnation
        if self._chance.random() < 0.1 and broken.id in core._senders._known:
            incarnation = self._chance.choice((INCARNATION_MAX, OUT_OF_RANGE))
        self._send(broken, target, broken.id, incarnation, self._of_member(broken, target, core))

    def _of_stranger(self, core: RaftNode, address: str) -> Any:
        """Return a message that would affect a node that believed a stranger."""
        state, term = core._state, core.term + self._number(1, FAR)
        last, last_term = state.log.last_index, state.log.last_term
        entry = LogEntry(last + 1, core.term, EntryKind.BATCH, encode(Batch(STRANGER, 1, 1, ())))
        return self._chance.choice(
            (
                RequestVote(term, last + FAR, term, transfer=True),
                RequestVoteReply(term, granted=True),
                AppendEntries(core.term, last, last_term, (entry,), last + 1),
                Heartbeat(core.term, 1, last),
                Heartbeat(term, 1, last),
                RemovalNotice(last + self._number(1, FAR)),
                TimeoutNow(core.term),
                JoinRequest(address, True, state.memberships.latest.index, core.term, STATE_LEVEL),
                Invitation("stranger:9400"),
                self._garbage(STRANGER),
            )
        )

    def _of_member(self, broken: Node, target: Node, core: RaftNode) -> Any:
        """Return an absurd message, or one that no member alone may act on."""
        state, term = core._state, core.term
        last, far = state.log.last_index, term + FAR
        absurd = (
            AppendEntriesReply(term, True, last + FAR),
            HeartbeatReply(term, FAR, state.now + FAR, FAR),
            self._contradiction(target, core),
            self._garbage(broken.id),
        )
        others = core.membership.voters - {core.id, broken.id}
        if not others or self._cluster.setting.options.rates.changes_voters:
            return self._chance.choice(absurd)  # it may be a majority by the arrival
        alone = (
            RequestVote(far, last + FAR, far, transfer=True),
            RequestVoteReply(far, granted=False),
            Heartbeat(far, 1, last),
            RemovalNotice(last + self._number(1, FAR)),
        )
        return self._chance.choice(absurd + alone)

    def _contradiction(self, target: Node, core: RaftNode) -> AppendEntries:
        """Return an append that contradicts a committed entry only in its term, if there is one.

        It is of the current leader's term, so that it changes nothing else.
        """
        assert target.life is not None
        log = core._state.log
        # Only entries that the node would know to be committed even after a restart.
        certain = min(core._state.agreed_index, target.life.storage.core._applied_durably)
        for index in range(certain, log.prev_index, -1):
            before, held = log.term_at(index - 1), log.term_at(index)
            if before is not None and held is not None and (before < held or held < core.term):
                other = held + 1 if held < core.term else held - 1
                entry = LogEntry(index, other, EntryKind.NO_OP)
                return AppendEntries(core.term, index - 1, before, (entry,), 0)
        gap = LogEntry(log.last_index + 5, core.term, EntryKind.NO_OP)
        return AppendEntries(core.term, log.last_index, log.last_term, (gap,), 0)

    def _garbage(self, sender: bytes) -> ForwardProposal:
        write = Write(1, 1, 1, Insert("\0applied", b""))
        payloads = (
            b"garbage",
            encode(Batch(sender, 1, 1, (write,))),
            encode(Batch(b"somebody else...", 1, 1, ())),
            encode([sender, 1, 1, [[10, OUT_OF_RANGE, 1, 1, [1]]]]),
        )
        return ForwardProposal(self._number(1, FAR), self._chance.choice(payloads))

    def _number(self, least: int, most: int) -> int:
        return self._chance.choice((least, self._chance.randint(least, most), most))

    def _send(
        self, source: Node, target: Node, sender: bytes, incarnation: int, message: Any
    ) -> None:
        """Send a frame like any other, if it decodes."""
        setting = self._cluster.setting
        cluster = FOREIGN if type(message) is Invitation else CLUSTER
        frame = (PEER_PROTOCOL_VERSION, cluster, sender, incarnation, source.advertised, (message,))
        try:
            decoded = decode_peer_frame(encode(frame))
        except Malformed:
            return
        setting.totals.hostile_frames += 1
        name = "stranger" if sender == STRANGER else f"broken {source.name}"
        setting.events.note("fault", f"a frame of {name} to {target.name}", message)
        setting.network.send(source.address, target.address, False, target.receive, name, decoded)
