"""Bootstrap: several new nodes, started with the same list of addresses, form one cluster.

Only the node with the lowest address on the list founds the cluster, and only while every other
node replies that it is new as well and was given the same list. The first membership lists all of
them, so that a commit needs a majority of them from the start. A node that loses its directory
later finds a member of the cluster, or no complete list, and never founds a second cluster.
"""

from collections.abc import Iterable, Mapping

import msgspec

from protocol.membership import Member, Membership, NodeId
from protocol.messages.peer import ClusterReply, PeerFrame
from protocol.raft.asking import ASK_SECONDS

FRESH_SECONDS = 1.0  # age of a reply up to which its node counts as present


class _Presence(msgspec.Struct, frozen=True):
    """The last reply of one expected node."""

    node: NodeId
    heard_at: float
    expects: tuple[str, ...]
    level: int


class Bootstrap:
    """The bootstrap as one node takes part in it. Times are seconds of any steady clock."""

    def __init__(self, node: NodeId, address: str, expects: Iterable[str], level: int) -> None:
        self.expects = tuple(sorted(expects))
        self.ask_at = 0.0
        self._node = node
        self._address = address
        self._level = level
        self._present: dict[str, _Presence] = {}
        self.found_cluster = False  # an expected node already belongs to a cluster: join that one

    def take_requests(self, now: float) -> list[str]:
        """Return the addresses to query now."""
        if now < self.ask_at:
            return []
        self.ask_at = now + ASK_SECONDS
        return [address for address in self.expects if address != self._address]

    def hear(self, frame: PeerFrame, reply: ClusterReply, now: float) -> None:
        """Take an expected node's reply."""
        if frame.address not in self.expects:
            return
        if reply.cluster:
            self.found_cluster = True
        self._present[frame.address] = _Presence(frame.sender, now, reply.expects, reply.level)

    def membership(self, now: float) -> Membership | None:
        """Return the founding members, or None if they are uncertain or another node must found."""
        members = {self._address: Member(self._node, self._address, True, self._level)}
        for address, each in self._present.items():
            if each.expects == self.expects and each.heard_at > now - FRESH_SECONDS:
                members[address] = Member(each.node, address, True, each.level)
        is_complete = len({member.id for member in members.values()}) == len(self.expects)
        if self.found_cluster or not is_complete or self._address != self.expects[0]:
            return None
        return Membership(tuple(sorted(members.values(), key=lambda member: member.id)))

    def missing(self, now: float, troubles: Mapping[str, str]) -> str:
        """Return in words which expected nodes are missing, and why; troubles by address."""
        lacks = {each: self._lack(each, now, troubles) for each in self.expects}
        lacks.pop(self._address, None)
        return ", ".join(f"{address} {lack}" for address, lack in lacks.items() if lack)

    def _lack(self, address: str, now: float, troubles: Mapping[str, str]) -> str:
        presence = self._present.get(address)
        if presence is None or presence.heard_at <= now - FRESH_SECONDS:
            return troubles.get(address) or "does not answer"
        return "" if presence.expects == self.expects else "was started with other --join, --expect"
