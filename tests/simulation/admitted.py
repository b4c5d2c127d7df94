"""Admissions: a removed node becomes a member again only after an invitation or a rejoin.

A node that was removed before any of the log had reached its disk counts as new: it cannot know
that it was a member, and its operator started it to become one. An invitation serves for one
membership: it lapses with the removal of a node that knew itself to be a member.
"""

from protocol.membership import Membership, NodeId
from tests.harness.breach import expect


class Admitted:
    """The ids of former members, and of those that may become members again."""

    def __init__(self) -> None:
        self._gone: set[NodeId] = set()
        self._welcome: set[NodeId] = set()
        self._once_welcome: set[NodeId] = set()
        self._settled: set[NodeId] = set()

    def welcome(self, node: NodeId) -> None:
        """Note that a node was invited, or started to rejoin."""
        self._welcome.add(node)
        self._once_welcome.add(node)

    def settle(self, node: NodeId) -> None:
        """Note that a node knows itself to be a member: it asks no more."""
        self._settled.add(node)

    def ask(self, node: NodeId) -> None:
        """Note that a node asks for membership."""
        self._settled.discard(node)

    def crash(self, node: NodeId, *, knows_removal: bool) -> None:
        """Note that a node may have forgotten its membership, though not its removal."""
        self._settled.discard(node)
        if node in self._once_welcome and not knows_removal:
            self._welcome.add(node)

    def changed(self, before: Membership, after: Membership, knowing: set[NodeId]) -> None:
        """Check an appended membership; ``knowing`` nodes have part of the log on disk."""
        old = {member.id for member in before.members}
        new = {member.id for member in after.members}
        expect(not (new - old) & self._gone - self._welcome, "a removed node came back by itself")
        self._gone |= (old - new) & knowing
        self._welcome -= (old - new) & self._settled
        addresses = [member.address for member in after.members]
        expect(len(addresses) == len(set(addresses)), "two members have one address")
