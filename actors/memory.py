"""Memory watch: keeps strangers from using up the memory of an actor that the network reaches.

ZeroMQ holds all frames of a message until its last one has come, however many there are. So when
an actor's memory is large and grows, the connections that bring most are closed. If it grows on
all the same, the actor ends before the system kills some process of its own choice.
"""

import logging
import resource
import sys
from pathlib import Path

from actors.connections import Connections
from actors.failure import ActorFailure
from protocol.connection_limits import floods

RESIDENT_BYTES_MAX = {"client_gateway": 1 << 30, "log_replicator": 2 << 30}
ALARM_SHARE = 0.35  # of that, from which on the connections are looked at
GROWTH_BYTES = 8 << 20  # between two looks: less is no flood
LOOK_SECONDS, ALARM_LOOK_SECONDS = 0.25, 0.05

PAGE_BYTES = resource.getpagesize()
RUSAGE_UNIT = 1 if sys.platform == "darwin" else 1024
STATM = Path("/proc/self/statm")

NEVER = float("inf")

log = logging.getLogger("skiff.memory")


class MemoryWatch:
    """Looks at the memory of this process now and then."""

    def __init__(self, actor: str) -> None:
        self._actor = actor
        self._bytes_max = RESIDENT_BYTES_MAX.get(actor, 0)
        self.look_at = 0.0 if self._bytes_max else NEVER  # seconds of ``time.monotonic``
        self._ports: list[Connections] = []
        self._received: list[dict[int, int]] = []  # by port, since memory became large
        self._resident = 0

    def watch(self, connections: Connections) -> None:
        """Close some of these connections when memory becomes large."""
        self._ports.append(connections)

    def look(self, now: float) -> None:
        """Look at the memory, which is due at ``look_at``.

        Raises:
            ActorFailure: there is too much of it.
        """
        before, self._resident = self._resident, resident_bytes()
        if self._resident > self._bytes_max:
            raise ActorFailure(
                "SkiffError",
                f"{self._actor} used {self._resident >> 20} MiB of memory, and at most "
                f"{self._bytes_max >> 20} are allowed",
            )
        if self._resident < self._bytes_max * ALARM_SHARE:
            self._received.clear()
            self.look_at = now + LOOK_SECONDS
            return
        self.look_at = now + ALARM_LOOK_SECONDS
        self._close_floods(grows=self._resident - before > GROWTH_BYTES)

    def _close_floods(self, *, grows: bool) -> None:
        received = [connections.received() for connections in self._ports]
        if grows and self._received:
            for connections, before, after in zip(
                self._ports, self._received, received, strict=True
            ):
                for connection in floods(before, after):
                    log.warning("closed a connection that brings too much, as memory grows")
                    connections.close(connection)
        self._received = received


def resident_bytes() -> int:
    """Return how much memory this process has; on some systems, the most it ever had."""
    if STATM.exists():
        return int(STATM.read_text().split()[1]) * PAGE_BYTES
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * RUSAGE_UNIT
