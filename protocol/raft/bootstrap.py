"""Bootstrap: several new nodes, started with the same list of addresses, form one cluster.

Only the node with the lowest address of the list founds, and only while every other one answers
that it is new, too, and was given the same list. The first membership holds all of them, so that
nothing is committed before a majority of them has it. A node that lost its directory after that
finds a node that belongs to the cluster, or does not hear all: it never founds a second one.
"""

from collections.abc import Iterable, Mapping

import msgspec

from protocol.membership import Member, Membership, NodeId
from protocol.messages.peer import ClusterReply, PeerFrame

ASK_SECONDS = 0.2  # between two rounds of queries
FRESH_SECONDS = 1.0  # how old the answer of a node may be that is counted as present


class _Presence(msgspec.Struct, frozen=True):
    """The last answer of one expected node."""

    node: NodeId
    heard_at: float
    expects: tuple[str, ...]


class Bootstrap:
    """One node's part in it. Times are seconds of any steady clock."""

    def __init__(self, node: NodeId, address: str, expects: Iterable[str]) -> None:
        self.expects = tuple(sorted(expects))
        self.ask_at = 0.0
        self._node = node
        self._address = address
        self._present: dict[str, _Presence] = {}
        self.found_cluster = False  # an expected node already belongs to a cluster: join that one

    def take_questions(self, now: float) -> list[str]:
        """Return the addresses to send a query to now."""
        if now < self.ask_at:
            return []
        self.ask_at = now + ASK_SECONDS
        return [address for address in self.expects if address != self._address]

    def hear(self, frame: PeerFrame, reply: ClusterReply, now: float) -> None:
        """Take an expected node's answer."""
        if frame.address not in self.expects:
            return
        if reply.cluster:
            self.found_cluster = True
        self._present[frame.address] = _Presence(frame.sender, now, reply.expects)

    def membership(self, now: float) -> Membership | None:
        """Return the members to found with, or None while that is not certain or not ours to do."""
        nodes = {self._address: self._node}
        for address, presence in self._present.items():
            if presence.expects == self.expects and presence.heard_at > now - FRESH_SECONDS:
                nodes[address] = presence.node
        is_complete = len(set(nodes.values())) == len(self.expects)
        if self.found_cluster or not is_complete or self._address != self.expects[0]:
            return None
        members = [Member(node, address, voter=True) for address, node in nodes.items()]
        return Membership(tuple(sorted(members, key=lambda each: each.id)))

    def missing(self, now: float, troubles: Mapping[str, str]) -> str:
        """Return in words which expected nodes are waited for, and why; troubles by address."""
        lacks = {each: self._lack(each, now, troubles) for each in self.expects}
        lacks.pop(self._address, None)
        return ", ".join(f"{address} {lack}" for address, lack in lacks.items() if lack)

    def _lack(self, address: str, now: float, troubles: Mapping[str, str]) -> str:
        presence = self._present.get(address)
        if presence is None or presence.heard_at <= now - FRESH_SECONDS:
            return troubles.get(address) or "does not answer"
        return "" if presence.expects == self.expects else "was started with other --join, --expect"
