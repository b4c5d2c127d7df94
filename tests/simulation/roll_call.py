"""RollCall: the census of a simulated client, which greets all addresses concurrently."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from protocol.client.census import DividedCensus
from protocol.client.routing import address_of
from protocol.client.steps import Counted, TakeCensus
from protocol.messages.client import CLIENT_PROTOCOL_VERSION, Hello, Outcome, Reply, Request

if TYPE_CHECKING:
    from tests.simulation.client import Thread

LOOK_SECONDS = 0.04  # between two checks of the census
TIMEOUT_MS = 5000


class RollCall:
    """One census, by the client's real core."""

    def __init__(self, thread: "Thread", step: TakeCensus, done: Callable[[Counted], None]) -> None:
        self._thread = thread
        self._client = thread.client
        self._events = thread.setting.events
        self._step = step
        self._done = done

    def begin(self) -> None:
        """Note the greeted node; greet all others unless that decides."""
        self._client.census_began = min(self._client.census_began, self._events.now)
        self._note(self._step.greeted, self._step.welcome)
        if not self._is_decided():
            for endpoint in self._client.route.given:
                if endpoint != self._step.greeted:
                    self._ask(endpoint)
            self._look()

    def _ask(self, endpoint: str) -> None:
        request = Request(CLIENT_PROTOCOL_VERSION, 1, TIMEOUT_MS, (Hello(),))

        def answered(reply: Reply) -> None:
            self._note(endpoint, reply.outcomes[0])

        def lost() -> None:
            self._note(endpoint, None)

        if not self._thread.ask(endpoint, request, answered, lost):
            lost()

    def _look(self) -> None:
        if self._is_decided():
            return
        if self._events.now >= self._step.deadline:
            self._done(Counted(b"", "undecided"))
        else:
            self._events.after(LOOK_SECONDS, self._look)

    def _is_decided(self) -> bool:
        try:
            elapsed = self._events.now - self._client.census_began
            cluster = self._client.census.decide(elapsed)
        except DividedCensus as divided:
            self._done(Counted(b"", str(divided)))
            return True
        if cluster:
            self._done(Counted(cluster))
        return bool(cluster)

    def _note(self, endpoint: str, outcome: Outcome | None) -> None:
        self._client.census.note_outcome(address_of(endpoint), outcome)
