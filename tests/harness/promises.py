"""Promises: no node says, or believes of itself, what a crash could take back."""

from collections.abc import Mapping
from typing import Any

from protocol.messages.peer import AppendEntriesReply, PeerMessage, RequestVote, RequestVoteReply
from protocol.raft.node import RaftNode
from tests.harness.breach import expect
from tests.harness.durable_state import DurableState


class Promises:
    """Every vote that was ever sent."""

    def __init__(self, disks: Mapping[bytes, DurableState]) -> None:
        self._disks = disks
        self._votes: dict[tuple[bytes, int], bytes] = {}

    def judge(self, node: bytes, to: bytes, message: PeerMessage) -> None:
        """Check a message of a node against its disk."""
        kind: Any = type(message)
        term: int | None = getattr(message, "term", None)
        if term is None or getattr(message, "pre", False):
            return
        disk = self._disks[node]
        expect(disk.hard_state.term >= term, f"{kind.__name__} of a term that is not durable")
        if kind is AppendEntriesReply:
            assert isinstance(message, AppendEntriesReply)
            self._accepted(disk, message)
        elif kind is RequestVoteReply:
            assert isinstance(message, RequestVoteReply)
            if message.granted:
                self._voted(node, to, term, disk)
        elif kind is RequestVote:
            self._voted(node, node, term, disk)

    def turn_over(self, core: RaftNode) -> None:
        """Check after a turn that the disk knows of a removal, unless a write is still due."""
        if core._state.durability.hard_state_durable:
            known = self._disks[core.id].hard_state.removed == core.removed
            expect(known, "a crash would take back a removal")

    def _accepted(self, disk: DurableState, message: AppendEntriesReply) -> None:
        if message.accepted and disk.hard_state.term == message.term:
            expect(disk.last_index >= message.index, "accepted before the disk held it")

    def _voted(self, voter: bytes, candidate: bytes, term: int, disk: DurableState) -> None:
        same = self._votes.setdefault((voter, term), candidate) == candidate
        expect(same, f"two votes of one node in term {term}")
        durable = disk.hard_state
        kept = (durable.term, durable.voted_for) == (term, candidate)
        expect(kept or durable.term > term, "a crash would take back a vote")
