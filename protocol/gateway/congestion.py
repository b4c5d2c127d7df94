"""Congestion: detects the subscribers that delay all others, so that they are disconnected.

It is checked while the publisher has messages queued. A connection is *full* while the kernel
accepts no more bytes for it. A full connection whose peer acknowledges nothing is *stuck* and is
closed first. If messages stay queued, connections that were full all along are closed: their
subscribers read too slowly.
"""

import msgspec

STUCK_SECONDS = 0.1
SLOW_SECONDS = 0.2  # of queued messages, before full connections are closed as too slow


class Load(msgspec.Struct, frozen=True):
    """A full connection's progress at one moment."""

    acknowledged: int | None  # bytes since it began; None where the system does not report it


class _Suspect(msgspec.Struct):
    """A connection that has been full at every check since ``full_since``."""

    full_since: float
    stuck_since: float
    acknowledged: int | None


class Congestion:
    """The connections that have been full since the publisher began to queue messages."""

    def __init__(self) -> None:
        self._suspects: dict[int, _Suspect] = {}

    def end(self) -> None:
        """Clear all suspects: no message is queued."""
        if self._suspects:
            self._suspects.clear()

    def look(self, loads: dict[int, Load], held_seconds: float, now: float) -> list[int]:
        """Return the connections to close, given the load of every full connection."""
        suspects = {
            connection: self._suspect(connection, load, now) for connection, load in loads.items()
        }
        closing = [each for each, suspect in suspects.items() if _is_stuck(suspect, now)]
        if not closing and held_seconds >= SLOW_SECONDS:
            closing = [
                connection
                for connection, suspect in suspects.items()
                if now - suspect.full_since >= SLOW_SECONDS / 2
            ]
        for connection in closing:
            del suspects[connection]
        self._suspects = suspects
        return closing

    def _suspect(self, connection: int, load: Load, now: float) -> _Suspect:
        known = self._suspects.get(connection)
        if known is None:
            return _Suspect(now, now, load.acknowledged)
        if load.acknowledged != known.acknowledged:
            return _Suspect(known.full_since, now, load.acknowledged)
        return known


def _is_stuck(suspect: _Suspect, now: float) -> bool:
    return suspect.acknowledged is not None and now - suspect.stuck_since >= STUCK_SECONDS
