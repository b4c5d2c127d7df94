"""RollCall: the census of a simulated client, which greets all addresses concurrently."""

from collections.abc import Callable
from typing import TYPE_CHECKING

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
        greeted = address_of(self._step.greeted)
        self._client.census.begin(greeted, self._step.welcome, self._events.now)
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
        if not self._is_decided():
            self._events.after(LOOK_SECONDS, self._look)

    def _is_decided(self) -> bool:
        counted = self._client.census.count(self._events.now, self._step.deadline)
        if counted is None:
            return False
        self._done(counted)
        return True

    def _note(self, endpoint: str, outcome: Outcome | None) -> None:
        self._client.census.note_outcome(address_of(endpoint), outcome)
