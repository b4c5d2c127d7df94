"""Moving: a member whose address has changed looks first whether it still runs at the former one.

A copied directory holds the identity of a node a second time, and two nodes of one identity would
vote twice. Nothing in a copy shows that it is one. But it is started at another address, as a rule,
while its original runs at the former: asked there, a node of the same identity answers.
"""

from protocol.messages.peer import PeerFrame
from protocol.messages.replicator import Recovered

ASK_SECONDS = 0.2  # between two queries
QUIET_SECONDS = 1.0  # without an answer, after which the move is believed


class Moving:
    """The look of one node at its former address. Times are seconds of any steady clock."""

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
        """Whether it is known if this is a copy, as far as it ever will be."""
        return self.is_copy or now >= self._quiet_until

    def take_question(self, now: float) -> bool:
        """Whether to send a query to the former address now."""
        if now < self._ask_at:
            return False
        self._ask_at = now + ASK_SECONDS
        return True

    def hear(self, frame: PeerFrame) -> None:
        """Take an answer in."""
        self.is_copy |= frame.sender == self._node and frame.address == self.former_address

    @property
    def failure(self) -> str:
        """The sentence with which a copy ends."""
        return (
            f"this directory is a copy: its node {self._node.hex()[:8]} runs at "
            f"{self.former_address}; a new node needs an empty directory and --join"
        )


def _former_address(recovered: Recovered, address: str) -> str:
    """Return where the newest membership lists the node, '' if nowhere else than here."""
    if not recovered.memberships:
        return ""
    member = recovered.memberships[-1].membership.get(recovered.node)
    return "" if member is None or member.address == address else member.address
