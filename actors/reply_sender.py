"""Reply sender: sends replies to clients, and tracks those that are still unread."""

from collections import deque

from actors.port import Port, Tracker
from protocol.deadlines import NEVER
from protocol.gateway.reply_budget import ReplyBudget

LOOK_SECONDS = 0.02  # between checks of the replies that ZeroMQ still holds


class ReplySender:
    """The sending half of the clients' socket. Times are seconds of a steady clock."""

    def __init__(self, port: Port, budget: ReplyBudget) -> None:
        self._port = port
        self._budget = budget
        # By connection, in the order in which ZeroMQ releases them.
        self._tracked: dict[bytes, deque[tuple[Tracker, int]]] = {}
        self._look_at = NEVER

    def send(self, client: tuple[bytes, ...], body: bytes, now: float, payer: bytes = b"") -> None:
        """Send a reply at a payer's expense; drop it if its client has too many unread ones."""
        connection = client[0]
        size = self._budget.begin_reply(connection, len(body), now, payer)
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
        """Return when the next ``look`` is due."""
        return self._look_at

    def look(self, now: float) -> None:
        """Release the replies that ZeroMQ has handed to the operating system or dropped."""
        if not self._tracked:
            self._look_at = NEVER
            return
        for connection, waiting in list(self._tracked.items()):
            while waiting and waiting[0][0].done:
                self._budget.end_reply(connection, waiting.popleft()[1], now)
            if not waiting:
                del self._tracked[connection]
        self._look_at = now + LOOK_SECONDS if self._tracked else NEVER
