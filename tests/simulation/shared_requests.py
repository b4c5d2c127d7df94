"""SharedRequests: the requests of a simulated asyncio client, by the real multiplexer."""

from typing import TYPE_CHECKING

from protocol.client.multiplexer import Frame, Multiplexer, Waiting
from protocol.client.routing import address_of
from protocol.client.steps import GRACE_SECONDS, Answered, Ask, Lost
from protocol.messages.client import Reply
from tests.harness.breach import Breach
from tests.simulation.events import Events
from tests.simulation.lone_requests import Cancel, Done

if TYPE_CHECKING:
    from tests.simulation.cluster import Cluster
    from tests.simulation.door import Door

TURN_SECONDS = 0.01  # longest turn of the client's event loop, in which calls share frames


class PendingCall(Waiting):
    """A request of one call."""

    __slots__ = ("_done", "_events", "_is_over")

    def __init__(self, ask: Ask, events: Events, done: Done) -> None:
        super().__init__(ask)
        self._events = events
        self._done = done
        self._is_over = False

    @property
    def is_over(self) -> bool:
        """Whether the call was cancelled, or has its result."""
        return self._is_over

    def cancel(self) -> None:
        """Ignore the result."""
        self._is_over = True

    def resolve(self, result: Answered | Lost) -> None:
        """Hand over the result in the next turn of the loop."""
        if not self._is_over:
            self._is_over = True
            self._events.after(0.0, self._done, result)

    def fail(self, reason: str) -> None:
        """Report a breach: simulated nodes keep the protocol."""
        raise Breach(f"{self.ask.endpoint} {reason}")

    def reject(self, reason: str) -> None:
        """Report a breach: simulated clients send valid requests."""
        raise Breach(f"a request to {self.ask.endpoint} cannot be encoded: {reason}")


class SharedRequests:
    """The connections of one client, which its threads share as tasks share an event loop."""

    def __init__(self, cluster: "Cluster", name: str) -> None:
        self._cluster = cluster
        self._name = name
        self._connections: dict[str, _Connection] = {}

    def ask(self, name: str, ask: Ask, done: Done) -> Cancel:
        """Queue a request; ``done`` gets its result, unless the returned function is called."""
        del name  # connections are the client's
        call = PendingCall(ask, self._cluster.setting.events, done)
        connection = self._connections.get(ask.endpoint)
        if connection is None:
            address = address_of(ask.endpoint)
            connection = _Connection(self._cluster, f"{self._name} {address}", address)
            self._connections[ask.endpoint] = connection
        if connection.is_lost:
            # Another node may be at the address by now: it is greeted first.
            del self._connections[ask.endpoint]
            call.resolve(Lost(sent=False))
        else:
            connection.ask(call)
        return call.cancel


class _Connection:
    """A connection to one node, until the node's process ends."""

    def __init__(self, cluster: "Cluster", name: str, address: str) -> None:
        self._cluster = cluster
        self._setting = cluster.setting
        self._name = name
        self._address = address
        self._requests = Multiplexer()
        self._flush_planned = False
        self._door: Door | None = None  # of the node's process at the other end
        self._was_lost = False

    @property
    def is_lost(self) -> bool:
        """Whether the process at the other end is known to be gone."""
        has_ended = self._door not in (None, self._cluster.node_at(self._address).door)
        return self._was_lost or has_ended

    def ask(self, call: PendingCall) -> None:
        """Queue a request for a frame of this turn."""
        self._requests.add(call)
        self._plan_flush()
        if self._requests.has_full_frame:
            self._flush()

    def _plan_flush(self) -> None:
        if not self._flush_planned:
            self._flush_planned = True
            self._setting.events.after(TURN_SECONDS * self._setting.chance.random(), self._end_turn)

    def _end_turn(self) -> None:
        self._flush_planned = False
        self._flush()

    def _flush(self) -> None:
        if not self._requests.flush(self._setting.events.now, self._send):
            self._lose()

    def _send(self, frame: Frame) -> bool:
        """Send a frame; return False if the connection is lost."""
        asker = (self._name, self._take, self._lose)
        if self.is_lost or not self._cluster.ask(self._address, asker, frame.request):
            return False
        self._setting.totals.shared_frames += frame.calls > 1
        self._door = self._cluster.node_at(self._address).door
        at = frame.deadline + GRACE_SECONDS
        self._setting.events.at(at, self._requests.expire, frame.request.id)
        return True

    def _take(self, reply: Reply) -> None:
        if not self._was_lost:
            self._requests.take_reply(reply)
            if self._requests.has_unsent:
                self._plan_flush()

    def _lose(self) -> None:
        self._was_lost = True
        self._requests.lose()
