"""Founding: a new node forms a cluster of one, unless another cluster claims its address.

The members of a cluster keep connecting to the address of a lost node. A new node waits for such
frames during a quiet period before it founds. A frame alone proves nothing, so the node queries
its sender: the address is taken if the sender's membership lists it under another node id.
"""

import msgspec

from protocol.membership import NodeId
from protocol.messages.peer import ClusterReply
from protocol.raft.asking import ASK_SECONDS

CLAIM_SECONDS = 2.0  # for which an unanswered claim postpones the founding
VOID_SECONDS = 5.0  # after which a void claim is checked again
CLAIMS_MAX = 8  # claimants, open and void


class Taken(msgspec.Struct, frozen=True):
    """The node's address belongs to another member of an existing cluster."""

    cluster: bytes
    claimant: str  # address of the member that reported it


class _Claim(msgspec.Struct):
    """A claim by a member of another cluster that sends to this node's address."""

    ask_at: float
    expires_at: float


class Founding:
    """The quiet period of one node. Times are seconds of any steady clock."""

    def __init__(self, node: NodeId, address: str, quiet_until: float) -> None:
        self._node = node
        self._address = address
        self._quiet_until = quiet_until
        self._claims: dict[str, _Claim] = {}  # by the claimant's address
        self._void_until: dict[str, float] = {}
        self.taken: Taken | None = None

    @property
    def is_asking(self) -> bool:
        """Whether a claim is open."""
        return bool(self._claims)

    @property
    def deadline(self) -> float:
        """When the next query is due, or the quiet period is over."""
        return min([claim.ask_at for claim in self._claims.values()], default=self._quiet_until)

    def is_over(self, now: float) -> bool:
        """Whether the node may found: the period is over, and no claim is open."""
        return self.taken is None and not self._claims and now >= self._quiet_until

    def hear_claim(self, address: str, now: float) -> None:
        """Record that a member of another cluster, at some address, sends to this node's."""
        if self._void_until.get(address, now) > now:
            return
        if address in self._claims:
            self._claims[address].expires_at = now + CLAIM_SECONDS
        elif len(self._claims) + len(self._void_until) < CLAIMS_MAX:
            self._claims[address] = _Claim(now, now + CLAIM_SECONDS)

    def take_requests(self, now: float) -> list[str]:
        """Return the addresses to query now."""
        self._claims = {a: claim for a, claim in self._claims.items() if claim.expires_at > now}
        due = [address for address, claim in self._claims.items() if claim.ask_at <= now]
        for address in due:
            self._claims[address].ask_at = now + ASK_SECONDS
        return due

    def hear(self, claimant: str, reply: ClusterReply, now: float) -> None:
        """Take a claimant's reply: its membership lists this address, or the claim is void."""
        if claimant not in self._claims:
            return
        here = reply.membership.at(self._address)
        if reply.cluster and here is not None and here.id != self._node:
            self.taken = Taken(reply.cluster, claimant)
        else:
            del self._claims[claimant]
            self._void_until = {a: end for a, end in self._void_until.items() if end > now}
            self._void_until[claimant] = now + VOID_SECONDS
