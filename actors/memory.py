"""Memory watch: limits the memory that remote senders can make an actor use.

ZeroMQ holds all frames of a message until the last one has arrived, without a limit on their
number, and even before the handshake a frame of the maximum size. Strangers are therefore closed
once they send more than a handshake takes. When an actor's memory is large and grows without them,
the connections with the most traffic are closed. If it still grows, the actor ends before the
system kills a process of its choice.
"""

import ctypes
import logging
import resource
import sys
from pathlib import Path

from actors.connections import Connections
from actors.failure import ActorFailure
from actors.logs import OnceAWhile
from protocol.connection_limits import floods
from protocol.deadlines import NEVER

RESIDENT_BYTES_MAX = {"client_gateway": 1 << 30, "log_replicator": 2 << 30}
ALARM_SHARE = 0.35  # of the limit, above which connections are checked
LAST_SHARE = 0.7  # above which they are also closed if strangers may have caused the growth
GROWTH_BYTES = 8 << 20  # between checks; less is no flood
LOOK_SECONDS, ALARM_LOOK_SECONDS = 0.25, 0.05
# While connections are in their handshakes; the second part is for each of them.
HANDSHAKE_LOOK_SECONDS, HANDSHAKE_COST_SECONDS = 0.005, 0.000_02
STRANGERS_SECONDS = 1.0  # after the last stranger was closed, in which growth may be theirs

PAGE_BYTES = resource.getpagesize()
RUSAGE_UNIT = 1 if sys.platform == "darwin" else 1024
STATM = Path("/proc/self/statm")
TRIM = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of glibc


log = logging.getLogger("skiff.memory")


class MemoryWatch:
    """Checks the memory of this process periodically."""

    def __init__(self, actor: str) -> None:
        self._actor = actor
        self._bytes_max = RESIDENT_BYTES_MAX.get(actor, 0)
        self._check_at = 0.0 if self._bytes_max else NEVER  # seconds of ``time.monotonic``
        self._break_off_at = 0.0
        self._strangers_until = 0.0
        self._ports: list[Connections] = []
        self._received: list[dict[int, int]] = []  # by port, at the last check
        self._resident = 0
        self._strange = OnceAWhile()

    def watch(self, connections: Connections) -> None:
        """Include a port's connections in those to close."""
        self._ports.append(connections)

    @property
    def look_at(self) -> float:
        """When to look next, in seconds of ``time.monotonic``."""
        if any(each.handshakes for each in self._ports):
            return min(self._break_off_at, self._check_at)
        return self._check_at

    def look(self, now: float) -> None:
        """Close strangers, and check the memory if that is due.

        Raises:
            ActorFailure: the process exceeds its limit.
        """
        self._break_off(now)
        if self._check_at <= now:
            self._check(now)

    def _break_off(self, now: float) -> None:
        hosts = [host for each in self._ports for host in each.break_off(now)]
        count = sum(each.handshakes for each in self._ports)
        self._break_off_at = now + HANDSHAKE_LOOK_SECONDS + count * HANDSHAKE_COST_SECONDS
        if hosts:
            self._strangers_until = now + STRANGERS_SECONDS
            if self._strange.is_due(now):
                log.warning(
                    "closed %d unauthenticated connections, for example from %s",
                    len(hosts),
                    hosts[0],
                )

    def _check(self, now: float) -> None:
        if now < self._strangers_until:
            release_freed()
        before, self._resident = self._resident, resident_bytes()
        if self._resident > self._bytes_max:
            raise ActorFailure(
                "SkiffError",
                f"{self._actor} used {self._resident >> 20} MiB of memory, and at most "
                f"{self._bytes_max >> 20} are allowed",
            )
        if self._resident < self._bytes_max * ALARM_SHARE:
            self._received.clear()
            self._check_at = now + LOOK_SECONDS
            return
        self._check_at = now + ALARM_LOOK_SECONDS
        is_theirs = now < self._strangers_until and self._resident < self._bytes_max * LAST_SHARE
        self._close_floods(grows=self._resident - before > GROWTH_BYTES and not is_theirs)

    def _close_floods(self, *, grows: bool) -> None:
        received = [connections.received() for connections in self._ports]
        if grows and self._received:
            for connections, before, after in zip(
                self._ports, self._received, received, strict=True
            ):
                for connection in floods(before, after):
                    log.warning(
                        "closed a connection with heavy traffic because memory use is growing"
                    )
                    connections.close(connection)
        self._received = received


def release_freed() -> None:
    """Return freed memory to the system; after large frames, glibc keeps it."""
    if TRIM is not None:
        TRIM(0)


def resident_bytes() -> int:
    """Return this process's resident memory in bytes; on some systems, its maximum so far."""
    if STATM.exists():
        return int(STATM.read_text().split()[1]) * PAGE_BYTES
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * RUSAGE_UNIT
