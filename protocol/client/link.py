"""Link: the node that one thread, or one event loop, of a client speaks to at present."""

from protocol.client.routing import Route
from protocol.deadlines import NEVER

WELCOME_SECONDS = 1.0  # how old the knowledge of who leads may become
GREETING_SECONDS = 1.0  # in which one call looks for a node on behalf of all


class Link:
    """One node at a time, until it fails or another one leads. Times are seconds."""

    def __init__(self, route: Route) -> None:
        self.endpoint = ""  # empty while no node is chosen
        self._route = route
        self._greeted = False
        self._asked_at = -NEVER
        self._greeting_since = -NEVER  # when the request was sent whose answer is awaited

    def choose(self, now: float) -> str:
        """Return the endpoint to ask: the present one, or else the best that is known."""
        if not self.endpoint:
            self.endpoint = self._route.choose(now)
        return self.endpoint

    @property
    def is_greeted(self) -> bool:
        """Whether the node has said that it belongs to the client's cluster."""
        return self._greeted

    def owes_greeting(self, now: float) -> bool:
        """Whether the next request should ask who leads."""
        return not self._greeted or now - self._asked_at > WELCOME_SECONDS

    def is_being_greeted(self, now: float) -> bool:
        """Whether another call is finding out if the node belongs to the client's cluster."""
        return not self._greeted and now - self._greeting_since <= GREETING_SECONDS

    def begin_greeting(self, now: float) -> None:
        """Note that a request asks who leads."""
        self._asked_at = self._greeting_since = now

    def end_greeting(self) -> None:
        """Note that the request was answered, or lost."""
        self._greeting_since = -NEVER

    def welcome(self, endpoint: str, now: float) -> None:
        """Note that a node of the client's cluster has answered a greeting; follow its leader."""
        if endpoint == self.endpoint:
            self._greeted = True
            if self._route.should_move(endpoint, now):
                self.drop()

    def abandon(self, endpoint: str, now: float) -> None:
        """Leave a node that failed alone for a while; no longer speak to it."""
        self._route.note_failure(endpoint, now)
        if endpoint == self.endpoint:
            self.drop()

    def drop(self) -> None:
        """Choose anew with the next request."""
        self.endpoint = ""
        self._greeted = False
        self._asked_at = self._greeting_since = -NEVER
