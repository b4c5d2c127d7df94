"""Space: shortages of a node's disk and of its quota for the state.

The storage writer measures the free space, ``SpaceWatch`` evaluates it, and the log replicators act
on it: a leader refuses proposals that grow the state, or hands over to a voter with space.
"""

from enum import IntEnum

import msgspec

CRITICAL_SHARE = 4  # a shortage is critical below a quarter of the reserve
EASE = 1.25  # hysteresis: times the limit that must be free to end a shortage


class Shortage(IntEnum):
    """The kind of space that a node lacks; higher values are more urgent."""

    NONE = 0
    QUOTA = 1  # the state has reached its quota
    LOW = 2  # the disk has less free space than its reserve
    CRITICAL = 3  # the disk has less free space than a quarter of its reserve

    @property
    def is_of_disk(self) -> bool:
        """Whether the disk, not the quota, lacks space."""
        return self >= Shortage.LOW


class SpaceLimits(msgspec.Struct, frozen=True):
    """The limits in a node's settings, in bytes; 0 means no limit."""

    disk_reserve: int = 0  # minimum free bytes on the disk
    state_max: int = 0  # quota for all keys and values


class Room(msgspec.Struct, frozen=True, array_like=True):
    """The last measured space of one node."""

    free_bytes: int = 0  # on the disk, its ballast not counted
    state_bytes: int = 0  # of all keys and values, the same on every node
    shortage: Shortage = Shortage.NONE  # the most urgent one


class SpaceChanged(msgspec.Struct, frozen=True, array_like=True, tag=51):
    """The node's shortage has changed."""

    shortage: Shortage  # the new one; ``NONE`` if there is space again


class SpaceWatch:
    """Evaluates one node's space, with hysteresis."""

    def __init__(self, limits: SpaceLimits) -> None:
        self._limits = limits
        self.room = Room()

    def look(self, free_bytes: int, state_bytes: int) -> SpaceChanged | None:
        """Evaluate a measurement, in bytes; return a message if the shortage has changed."""
        before = self.room.shortage
        shortage = shortage_of(self._limits, free_bytes, state_bytes, before)
        self.room = Room(free_bytes, state_bytes, shortage)
        return None if shortage is before else SpaceChanged(shortage)


def shortage_of(
    limits: SpaceLimits, free_bytes: int, state_bytes: int, before: Shortage
) -> Shortage:
    """Return a node's shortage, given its previous one."""
    critical = limits.disk_reserve / CRITICAL_SHARE
    if free_bytes < critical * (EASE if before is Shortage.CRITICAL else 1):
        return Shortage.CRITICAL
    if free_bytes < limits.disk_reserve * (EASE if before.is_of_disk else 1):
        return Shortage.LOW
    if limits.state_max and state_bytes >= limits.state_max:
        return Shortage.QUOTA
    return Shortage.NONE
