"""Refusals: the nodes that no longer have the changes that a watch needs next.

One refusal says little: the history of a node that installed a snapshot begins there, and others
may have what it lacks. So the watch ends once all nodes have refused, or once a majority has and
none of the others answers for a while. No history ever reaches back further than before: a node
that has refused is not asked again until a page has come from another, or those left have been
silent for a while, and the requests need no pauses of their own.
"""

from typing import NamedTuple

from protocol.client.attempts import ATTEMPT_SECONDS
from protocol.client.link import Link
from protocol.client.routing import Route
from protocol.deadlines import NEVER
from protocol.membership import NodeId, is_majority

# For the other nodes, from the first refusal on: three attempts at a silent one, and longer than an
# election or the restart of a process.
GRACE_SECONDS = 3.0
NO_HISTORY = 1 << 62  # in place of a revision, of a node whose version keeps no changes


class HistoryRefusal(NamedTuple):
    """The last answer at an endpoint whose node lacks the changes after a place."""

    node: NodeId
    oldest: int  # revision after which it has all changes


class Refusals:
    """The refusals since the last page of changes. Times are seconds of a steady clock."""

    def __init__(self, route: Route) -> None:
        """Begin with the nodes of a client's route."""
        self._route = route
        self._refusals: dict[str, HistoryRefusal] = {}  # by endpoint
        self._first = self._last = 0.0  # times of refusals
        self.link = Link(route, stays=True, shunned=self._refusals)  # to ask for a page

    def clear(self) -> None:
        """Forget the refusals: a page has come."""
        self._refusals.clear()

    def note(self, oldest: int, now: float) -> None:
        """Record a refusal by the node of the link, and choose another one for the next request."""
        if not self._refusals:
            self._first = now
        self._last = now
        self._refusals[self.link.endpoint] = HistoryRefusal(self.link.node, oldest)
        self.link.drop()

    def deadline(self, now: float) -> float:
        """Return when the next request ends: with time for each node left, if it may be the last.

        It has no deadline while less than a majority has refused.
        """
        left = self._left
        if not self._is_majority_without(left):
            return NEVER
        return max(self._first + GRACE_SECONDS, now + ATTEMPT_SECONDS * len(left))

    def verdict(self, now: float) -> int | None:
        """Return the revision after which some node has all changes, if the watch ends; else None.

        It is ``NO_HISTORY`` if all that have refused run older versions. A node that was not asked
        since the last refusal may yet have a page.
        """
        left = self._left
        are_silent = now >= self._first + GRACE_SECONDS and all(map(self._has_failed, left))
        if left and not are_silent:
            return None
        if not self._is_majority_without(left):
            self._refusals.clear()  # those that have refused may tell of other members meanwhile
            return None
        return min(each.oldest for each in self._refusals.values())

    @property
    def _left(self) -> list[str]:
        """The endpoints of the nodes that have not refused, as far as known."""
        refused = set(map(self._route.member_of, self._refusals))
        return [each for each in self._route.nodes if self._route.member_of(each) not in refused]

    def _is_majority_without(self, left: list[str]) -> bool:
        # A removed node may be all that a client still asks: those that refused were members.
        # Each counts once, by whatever addresses it was asked.
        refused = len({each.node for each in self._refusals.values()})
        return is_majority(refused, refused + len(left))

    def _has_failed(self, endpoint: str) -> bool:
        return self._route.has_failed_since(endpoint, self._last)
