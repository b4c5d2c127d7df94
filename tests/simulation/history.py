"""History: each operation of the clients with its start, its end and its outcome."""

from enum import Enum
from typing import Any

import msgspec

from protocol.state.commands import Transact


class Kind(Enum):
    """The kind of an operation."""

    GET = "get"
    INSERT = "insert"
    REMOVE = "remove"
    TRANSACT = "transact"


class Operation(msgspec.Struct):
    """An operation of a client on a key; without an outcome, it may or may not have been done."""

    client: str
    kind: Kind
    key: str
    begun: int  # number of the moment
    value: bytes = b""
    if_revision: int | None = None
    ended: int | None = None
    outcome: Any = None
    command: Transact | None = None  # of a transaction, which has no key of its own

    @property
    def is_write(self) -> bool:
        """Whether it is a write."""
        return self.kind is not Kind.GET


class History:
    """All operations of a run in order of their start, except certain failures."""

    def __init__(self) -> None:
        self.operations: list[Operation] = []
        self._moment = 0

    def moment(self) -> int:
        """Return the number of the current moment."""
        self._moment += 1
        return self._moment

    def begin(self, operation: Operation) -> None:
        """Note the start of an operation."""
        operation.begun = self.moment()
        self.operations.append(operation)

    def end(self, operation: Operation, outcome: Any) -> None:
        """Note the outcome of an operation."""
        operation.ended = self.moment()
        operation.outcome = outcome

    def forget(self, operation: Operation) -> None:
        """Drop an operation that certainly did nothing."""
        self.operations.remove(operation)
