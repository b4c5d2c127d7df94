"""Moving: a member with a new address first checks that it does not run at its former one.

A copied data directory duplicates the identity of a node, and two nodes with one identity would
vote twice. A copy does not show that it is one. But it is usually started at another address while
its original runs at the former one, where a node of the same identity then replies to a query.
"""

from protocol.messages.peer import PeerFrame
from protocol.messages.replicator import Recovered
from protocol.raft.asking import ASK_SECONDS

QUIET_SECONDS = 1.0  # without a reply, after which the move is believed


class Moving:
    """The check of one node's former address. Times are seconds of any steady clock."""

    def __init__(self, recovered: Recovered, address: str, now: float) -> None:
        self.former_address = _former_address(recovered, address)
        self.is_copy = False
        self._node = recovered.node
        self._ask_at = now
        self._quiet_until = now + QUIET_SECONDS if self.former_address else now

    @property
    def deadline(self) -> float:
        """When the next query is due, or the quiet period is over."""
        return min(self._ask_at, self._quiet_until)

    def is_over(self, now: float) -> bool:
        """Whether the check is over: the directory is a copy, or counts as moved."""
        return self.is_copy or now >= self._quiet_until

    def take_request(self, now: float) -> bool:
        """Return whether to query the former address now."""
        if now < self._ask_at:
            return False
        self._ask_at = now + ASK_SECONDS
        return True

    def hear(self, frame: PeerFrame) -> None:
        """Take a reply."""
        self.is_copy |= frame.sender == self._node and frame.address == self.former_address

    @property
    def failure(self) -> str:
        """The error message of a copy."""
        return (
            f"this directory is a copy: its node {self._node.hex()[:8]} runs at "
            f"{self.former_address}; a new node needs an empty directory and --join"
        )


def _former_address(recovered: Recovered, address: str) -> str:
    """Return the node's address in the newest membership, or '' if it has not changed."""
    if not recovered.memberships:
        return ""
    member = recovered.memberships[-1].membership.get(recovered.node)
    return "" if member is None or member.address == address else member.address
