"""Leaders: those of an election in their order, as an observer sees them."""

from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any

from protocol.coordination.election import find_leader, next_leader
from protocol.coordination.line import Line
from protocol.coordination.procedure import Procedure
from protocol.messages.client import ScannedEntry
from skiff.recipes.time_limits import FOREVER
from skiff.records import Entry
from skiff.values import entry_of

if TYPE_CHECKING:
    from skiff.recipes.async_coordinator import AsyncCoordinator
    from skiff.recipes.coordinator import Coordinator


class Observed:
    """The leader that an observer has seen last."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._begun = False
        self._last: ScannedEntry | None = None

    def find_next(self) -> Procedure[ScannedEntry | None]:
        """Return the present leader at first, then wait for another one."""
        return next_leader(self._line, self._last) if self._begun else find_leader(self._line)

    def note(self, leader: ScannedEntry | None, type_: Any) -> Entry[Any] | None:
        """Note that a leader was seen; return its entry.

        Raises:
            DeserializeFailed: its value is not of the type.
        """
        self._begun, self._last = True, leader
        return None if leader is None else entry_of(leader.key, leader, type_)


class Leaders(Iterator[Entry[Any] | None]):
    """The leaders of an election in their order, from the present one on."""

    def __init__(self, coordinator: "Coordinator", line: Line, type_: Any) -> None:
        self._coordinator = coordinator
        self._type = type_
        self._observed = Observed(line)

    def __next__(self) -> Entry[Any] | None:
        leader = self._coordinator.perform(self._observed.find_next(), FOREVER)
        return self._observed.note(leader, self._type)


class AsyncLeaders(AsyncIterator[Entry[Any] | None]):
    """The leaders of an election in their order; see ``Leaders``."""

    def __init__(self, coordinator: "AsyncCoordinator", line: Line, type_: Any) -> None:
        self._coordinator = coordinator
        self._type = type_
        self._observed = Observed(line)

    async def __anext__(self) -> Entry[Any] | None:
        leader = await self._coordinator.perform(self._observed.find_next(), FOREVER)
        return self._observed.note(leader, self._type)
