"""Memory watch: limits the memory that remote senders can make an actor use.

ZeroMQ holds all frames of a message until the last one has arrived, without a limit on their
number. When an actor's memory is large and grows, the connections with the most traffic are
therefore closed. If it still grows, the actor ends before the system kills a process of its choice.
"""

import logging
import resource
import sys
from pathlib import Path

from actors.connections import Connections
from actors.failure import ActorFailure
from protocol.connection_limits import floods
from protocol.deadlines import NEVER

RESIDENT_BYTES_MAX = {"client_gateway": 1 << 30, "log_replicator": 2 << 30}
ALARM_SHARE = 0.35  # of the limit, above which connections are checked
GROWTH_BYTES = 8 << 20  # between checks; less is no flood
LOOK_SECONDS, ALARM_LOOK_SECONDS = 0.25, 0.05

PAGE_BYTES = resource.getpagesize()
RUSAGE_UNIT = 1 if sys.platform == "darwin" else 1024
STATM = Path("/proc/self/statm")


log = logging.getLogger("skiff.memory")


class MemoryWatch:
    """Checks the memory of this process periodically."""

    def __init__(self, actor: str) -> None:
        self._actor = actor
        self._bytes_max = RESIDENT_BYTES_MAX.get(actor, 0)
        self.look_at = 0.0 if self._bytes_max else NEVER  # seconds of ``time.monotonic``
        self._ports: list[Connections] = []
        self._received: list[dict[int, int]] = []  # by port, at the last check
        self._resident = 0

    def watch(self, connections: Connections) -> None:
        """Include a port's connections in those to close."""
        self._ports.append(connections)

    def look(self, now: float) -> None:
        """Check the memory; the next check is due at ``look_at``.

        Raises:
            ActorFailure: the process exceeds its limit.
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
                    log.warning("closed a connection with much traffic, because memory grows")
                    connections.close(connection)
        self._received = received


def resident_bytes() -> int:
    """Return this process's resident memory in bytes; on some systems, its maximum so far."""
    if STATM.exists():
        return int(STATM.read_text().split()[1]) * PAGE_BYTES
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * RUSAGE_UNIT
