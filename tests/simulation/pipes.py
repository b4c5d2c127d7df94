"""Pipes: the ordered connections from a gateway to its subscribers, which may be full."""

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.simulation.rights_watcher import RightsWatcher
    from tests.simulation.setting import Setting
    from tests.simulation.watcher import Watcher

PIPE_DELAY = 0.002


class Pipes:
    """A stand-in for the publisher's socket."""

    def __init__(self, setting: "Setting", rouse: Callable[[], None]) -> None:
        self._setting = setting
        self._rouse = rouse
        self._watchers: list[Watcher | RightsWatcher] = []
        self._connected: dict[int, Watcher | RightsWatcher] = {}  # those of users
        self.users: dict[int, bytes] = {}  # public keys, by connection
        self._last_arrival = 0.0
        self._full_until = 0.0
        self._lossy = False
        self._subscriptions = 0
        self.orders: list[tuple[bytes, int]] = []

    def subscribe(
        self, watcher: "Watcher | RightsWatcher", topics: tuple[bytes, ...], user: bytes = b""
    ) -> None:
        """Connect a watcher of a user, whose subscription is to be judged and confirmed."""
        self._subscriptions += 1
        connection, delay = self._subscriptions, 0.0
        self.users[connection] = user
        if user:
            self._connected[connection] = watcher  # nothing is sent before it is judged
        else:
            self._watchers.append(watcher)
        for topic in sorted(topics):  # as a new connection of ZeroMQ sends them
            self._setting.events.after(delay, self._take, b"\1" + topic, connection)
            delay += PIPE_DELAY * self._setting.chance.random() ** 4

    def _take(self, frame: bytes, connection: int) -> None:
        self.orders.append((frame, connection))
        self._rouse()

    def admit(self, connection: int) -> None:
        """Let a connection have what is published to its topics."""
        watcher = self._connected.get(connection)
        if watcher is not None and watcher not in self._watchers:
            self._watchers.append(watcher)

    def cut(self, connection: int) -> None:
        """Close a connection."""
        watcher = self._connected.pop(connection, None)
        if watcher is not None:
            self._setting.totals.watches_denied += 1
            self.leave(watcher)
            self._setting.events.after(PIPE_DELAY, watcher.lost, self)

    def leave(self, watcher: "Watcher | RightsWatcher") -> None:
        """Disconnect a watcher."""
        if watcher in self._watchers:
            self._watchers.remove(watcher)
        for connection, each in list(self._connected.items()):
            if each is watcher:
                del self._connected[connection]

    def fill(self, seconds: float) -> None:
        """Fill all pipes for some seconds."""
        self._full_until = self._setting.events.now + seconds

    def drain(self) -> list[tuple[bytes, int]]:
        """Return the new subscriptions, each with its connection's number."""
        taken, self.orders = self.orders, []
        return taken

    def send(self, topic: bytes, body: bytes) -> bool:
        """Send to all subscribers of the topic; return whether the pipes took it."""
        events = self._setting.events
        if events.now < self._full_until:
            return self._lossy  # ZeroMQ then drops it for subscribers with full pipes
        delay = PIPE_DELAY * self._setting.chance.random()
        self._last_arrival = max(self._last_arrival, events.now + delay)
        for watcher in self._watchers:
            if watcher.wants(topic):
                watcher.is_sent(topic, body)
                events.at(self._last_arrival, watcher.hear, self, topic, body)
        return True

    def set_lossy(self, *, lossy: bool) -> None:
        """Set whether a full pipe drops messages or refuses them."""
        self._lossy = lossy

    def close(self) -> None:
        """Break all connections."""
        for watcher in dict.fromkeys([*self._watchers, *self._connected.values()]):
            self._setting.events.after(PIPE_DELAY, watcher.lost, self)
        self._watchers.clear()
        self._connected.clear()
