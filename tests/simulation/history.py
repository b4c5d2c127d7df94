"""What clients did and saw: each operation with its beginning, its end and its outcome."""

from enum import Enum
from typing import Any

import msgspec


class Kind(Enum):
    """What an operation does."""

    GET = "get"
    INSERT = "insert"
    REMOVE = "remove"


class Operation(msgspec.Struct):
    """One operation of one client on one key; without an outcome, it may have been done or not."""

    client: str
    kind: Kind
    key: str
    begun: int  # moments are numbered in their order
    value: bytes = b""
    if_revision: int | None = None
    ended: int | None = None
    outcome: Any = None

    @property
    def is_write(self) -> bool:
        """Whether it may change something."""
        return self.kind is not Kind.GET


class History:
    """All operations of a run, in the order in which they began; certain failures are left out."""

    def __init__(self) -> None:
        self.operations: list[Operation] = []
        self._moment = 0

    def moment(self) -> int:
        """Return the number of this moment."""
        self._moment += 1
        return self._moment

    def begin(self, operation: Operation) -> None:
        """Note that an operation begins."""
        operation.begun = self.moment()
        self.operations.append(operation)

    def end(self, operation: Operation, outcome: Any) -> None:
        """Note what an operation resulted in."""
        operation.ended = self.moment()
        operation.outcome = outcome

    def forget(self, operation: Operation) -> None:
        """Leave out an operation that certainly did nothing."""
        self.operations.remove(operation)
