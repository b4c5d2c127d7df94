"""Link: the node that one thread or event loop of a client currently uses."""

from collections.abc import Container

from protocol.client.routing import Route
from protocol.deadlines import NEVER
from protocol.membership import NodeId
from protocol.ranges import LEVEL_MIN

WELCOME_SECONDS = 1.0  # after which the leader is asked for again
GREETING_SECONDS = 1.0  # during which other calls wait for one call's greeting


class Link:
    """One node, until it fails or another one leads. Times are seconds of a steady clock."""

    def __init__(self, route: Route, *, stays: bool = False, shunned: Container[str] = ()) -> None:
        """Begin without a node; with ``stays``, do not leave one because another leads.

        The ``shunned`` endpoints are chosen only if there is no other; they may change.
        """
        self.endpoint = ""  # empty while no node is chosen
        self.node: NodeId = b""  # id of the node that was greeted last
        self._route = route
        self._stays = stays
        self._shunned = shunned
        self.level = LEVEL_MIN  # of the operations that the greeted node can read
        self._greeted = False
        self._asked_at = -NEVER
        self._greeting_since = -NEVER  # when the pending greeting was sent

    def choose(self, now: float) -> str:
        """Return the endpoint to use: the current one, or the best known one."""
        if not self.endpoint:
            self.endpoint = self._route.choose(now, self._shunned)
        return self.endpoint

    def is_ready(self, now: float) -> bool:
        """Whether a request needs no choice of a node, and no greeting."""
        return self._greeted and now - self._asked_at <= WELCOME_SECONDS

    @property
    def is_greeted(self) -> bool:
        """Whether the node has confirmed that it belongs to the client's cluster."""
        return self._greeted

    def is_being_greeted(self, now: float) -> bool:
        """Whether another call's first greeting of the node is pending."""
        return not self._greeted and now - self._greeting_since <= GREETING_SECONDS

    def begin_greeting(self, now: float) -> None:
        """Record that a greeting is sent."""
        self._asked_at = self._greeting_since = now

    def end_greeting(self) -> None:
        """Record that the greeting was answered or lost."""
        self._greeting_since = -NEVER

    def welcome(self, endpoint: str, node: NodeId, level: int, now: float) -> None:
        """Record a greeting by a node of the client's cluster; move to the leader if need be."""
        if endpoint == self.endpoint:
            self._greeted, self.node, self.level = True, node, level
            if not self._stays and self._route.should_move(endpoint, now):
                self.drop()

    def abandon(self, endpoint: str, now: float) -> None:
        """Avoid a failed node for a while."""
        self._route.note_failure(endpoint, now)
        if endpoint == self.endpoint:
            self.drop()

    def drop(self) -> None:
        """Choose a node again for the next request."""
        self.endpoint = ""
        self._greeted = False
        self._asked_at = self._greeting_since = -NEVER
