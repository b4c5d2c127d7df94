"""Admissions: a node that was removed is a member again only where somebody wished it.

One that was removed before any of the log had reached its disk counts as new: it cannot know that
it was a member, and its operator has started it to become one.
"""

from protocol.membership import Membership, NodeId
from tests.simulation.breach import expect


class Admitted:
    """The ids that were members once, and those that may become members again."""

    def __init__(self) -> None:
        self._gone: set[NodeId] = set()
        self._welcome: set[NodeId] = set()

    def welcome(self, node: NodeId) -> None:
        """Note an invitation of a node, or that it was started to rejoin."""
        self._welcome.add(node)

    def changed(self, before: Membership, after: Membership, knowing: set[NodeId]) -> None:
        """Check a membership that a leader appends; the knowing have some log on their disks."""
        old = {member.id for member in before.members}
        new = {member.id for member in after.members}
        expect(not (new - old) & self._gone - self._welcome, "a removed node came back by itself")
        self._gone |= (old - new) & knowing
        addresses = [member.address for member in after.members]
        expect(len(addresses) == len(set(addresses)), "two members have one address")
