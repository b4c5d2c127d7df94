"""Durable state: the part of a node's state that a crash now would leave."""

from typing import Protocol

from protocol.hard_state import HardState


class DurableState(Protocol):
    """A disk, as the judges see it."""

    hard_state: HardState

    @property
    def last_index(self) -> int:
        """The index of the last entry that a crash leaves."""
