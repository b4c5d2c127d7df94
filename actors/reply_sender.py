"""Reply sender: hands replies to ZeroMQ, and notices which of them clients have not read yet."""

from collections import deque

from actors.sockets import Port, Tracker
from protocol.deadlines import NEVER
from protocol.gateway.reply_budget import ReplyBudget

LOOK_SECONDS = 0.02  # how often it is looked whether ZeroMQ has let go of replies


class ReplySender:
    """The sending half of the socket on which clients ask."""

    def __init__(self, port: Port, budget: ReplyBudget) -> None:
        self._port = port
        self._budget = budget
        # By connection, in the order in which ZeroMQ lets go of them.
        self._tracked: dict[bytes, deque[tuple[Tracker, int]]] = {}
        self._look_at = NEVER

    def send(self, client: tuple[bytes, ...], body: bytes, now: float) -> None:
        """Send a reply, unless its client lets too many wait: it will find them missing."""
        connection = client[0]
        size = self._budget.begin_reply(connection, len(body), now)
        if size == 0:
            self._port.send(*client, body)
        elif size is not None:
            tracker = self._port.send_tracked(*client, body)
            if tracker is None:
                self._budget.end_reply(connection, size, now)
            else:
                self._tracked.setdefault(connection, deque()).append((tracker, size))
                self._look_at = min(self._look_at, now + LOOK_SECONDS)

    def next_deadline(self) -> float:
        """Return when ``look`` should be called though nothing has happened."""
        return self._look_at

    def look(self, now: float) -> None:
        """Count no more what ZeroMQ has handed to the system, or dropped with its connection."""
        if not self._tracked:
            self._look_at = NEVER
            return
        for connection, waiting in list(self._tracked.items()):
            while waiting and waiting[0][0].done:
                self._budget.end_reply(connection, waiting.popleft()[1], now)
            if not waiting:
                del self._tracked[connection]
        self._look_at = now + LOOK_SECONDS if self._tracked else NEVER
