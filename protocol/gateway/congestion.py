"""Congestion: which subscribers hold up the others, so that their connections are closed.

It is looked at while the publisher holds something back. A connection is *full* while the system
takes no more bytes for it. A full one whose peer acknowledges nothing is *stuck*: it is closed
first. If that was not enough, those go that were full all the time: they read too slowly.
"""

import msgspec

STUCK_SECONDS = 0.1
SLOW_SECONDS = 0.2  # that something was held back, and a connection full


class Load(msgspec.Struct, frozen=True):
    """How a full connection stands at one moment."""

    acknowledged: int | None  # bytes since it began; None where the system does not tell


class _Suspect(msgspec.Struct):
    """A connection that has been full each time since the first of these."""

    full_since: float
    stuck_since: float
    acknowledged: int | None


class Congestion:
    """The connections that have been full since the publisher began to hold back."""

    def __init__(self) -> None:
        self._suspects: dict[int, _Suspect] = {}

    def end(self) -> None:
        """Suspect no connection any more: nothing is held back."""
        if self._suspects:
            self._suspects.clear()

    def look(self, loads: dict[int, Load], held_seconds: float, now: float) -> list[int]:
        """Return the connections to close, given how all that are full stand."""
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
