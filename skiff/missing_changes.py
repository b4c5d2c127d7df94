"""MissingChanges: the pages of what a watch's stream has missed, and the end if no node has them.

Both kinds of subscribers send the requests, and pass the outcomes in.
"""

from protocol.client.refusals import NO_HISTORY, Refusals
from protocol.client.routing import Route
from protocol.client.watch import Watch
from protocol.messages import client as wire
from protocol.messages.client import ChangePage, Outcome
from skiff.errors import Compacted, Unsupported
from skiff.method import Anchor
from skiff.outcomes import expect

OLDER_NODES = "changes were missed, and the nodes run older versions, which keep none: upgrade them"


class MissingChanges:
    """The missing changes of one watch. Times are seconds of a steady clock."""

    def __init__(self, watch: Watch, route: Route) -> None:
        self._watch = watch
        self._refusals = Refusals(route)
        self.anchor = Anchor(self._refusals.link)  # the node that is asked for the next page
        self.gone: Compacted | None = None  # why the watch has ended; None while it has not

    def deadline(self, now: float) -> float:
        """Return when the next request ends at the latest."""
        return self._refusals.deadline(now)

    def take(self, outcome: Outcome, now: float) -> None:
        """Take a node's page for the watch, or its refusal.

        Raises:
            Unsupported: all nodes that answer run older versions.
            OlderNode: the page has no previous values, which are asked for.
            RPCCallFailed: the outcome is of another operation.
        """
        if isinstance(outcome, wire.Compacted):
            self._refusals.note(outcome.oldest, now)
            self.judge(now)
            return
        page = expect(outcome, ChangePage)
        self._refusals.clear()
        self._watch.take_page(page)

    def take_older(self, now: float) -> None:
        """Take it that the node runs an older version, which keeps no changes.

        Raises:
            Unsupported: all nodes that answer run older versions.
        """
        self._refusals.note(NO_HISTORY, now)
        self.judge(now)

    def judge(self, now: float) -> None:
        """End the watch once no node will have the changes.

        Raises:
            Unsupported: all nodes that answer run older versions.
        """
        oldest = self._refusals.verdict(now)
        if oldest == NO_HISTORY:
            self._refusals.clear()  # they may be upgraded
            raise Unsupported(OLDER_NODES)
        if oldest is not None:
            self.gone = Compacted(
                f"the changes after revision {self._watch.revision} are no longer kept; all after "
                f"revision {oldest} are: read the keys again, as by watch(initial=True)",
                oldest,
            )
