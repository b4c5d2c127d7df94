"""Space: whether a node's disk, and its quota of state, leave room for more.

The storage writer's shell measures, ``SpaceWatch`` judges, and the log replicators act: a leader
refuses what would let the state grow, or hands over to a voter whose disk has room.
"""

from enum import IntEnum

import msgspec

CRITICAL_SHARE = 4  # of the reserve, this part is left when it becomes critical
EASE = 1.25  # so many times the limit must be free before a shortage is over


class Shortage(IntEnum):
    """The kind of room that a node lacks; the higher, the more urgent."""

    NONE = 0
    QUOTA = 1  # the state has reached its quota
    LOW = 2  # the disk has less left than its reserve
    CRITICAL = 3  # the disk has less left than a quarter of it

    @property
    def is_of_disk(self) -> bool:
        """Whether the disk has no room for a growing state."""
        return self >= Shortage.LOW


class SpaceLimits(msgspec.Struct, frozen=True):
    """The limits that a node's settings state, in bytes; 0 is no limit."""

    disk_reserve: int = 0  # free bytes of the disk below which the node has a shortage
    state_max: int = 0  # bytes of all keys and values at which it has one


class Room(msgspec.Struct, frozen=True, array_like=True):
    """The room of one node, as measured last."""

    free_bytes: int = 0  # that the disk has left for this node, its ballast not counted
    state_bytes: int = 0  # of all keys and values, the same on every node
    shortage: Shortage = Shortage.NONE  # the most urgent one


class SpaceChanged(msgspec.Struct, frozen=True, array_like=True, tag=51):
    """The node's storage has another shortage than before."""

    shortage: Shortage  # the new one; ``NONE`` where there is room again


class SpaceWatch:
    """The judgement of one node's room; a shortage lasts until there is clearly more."""

    def __init__(self, limits: SpaceLimits) -> None:
        self._limits = limits
        self.room = Room()

    def look(self, free_bytes: int, state_bytes: int) -> SpaceChanged | None:
        """Judge what was measured; return what the replicator is to hear, if that has changed."""
        before = self.room.shortage
        shortage = shortage_of(self._limits, free_bytes, state_bytes, before)
        self.room = Room(free_bytes, state_bytes, shortage)
        return None if shortage is before else SpaceChanged(shortage)


def shortage_of(
    limits: SpaceLimits, free_bytes: int, state_bytes: int, before: Shortage
) -> Shortage:
    """Return what a node lacks, given what it lacked before."""
    critical = limits.disk_reserve / CRITICAL_SHARE
    if free_bytes < critical * (EASE if before is Shortage.CRITICAL else 1):
        return Shortage.CRITICAL
    if free_bytes < limits.disk_reserve * (EASE if before.is_of_disk else 1):
        return Shortage.LOW
    if limits.state_max and state_bytes >= limits.state_max:
        return Shortage.QUOTA
    return Shortage.NONE
