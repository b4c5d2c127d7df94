"""The client that the benchmark needs of a store."""

from collections.abc import Awaitable, Sequence
from typing import Protocol, TypeVar

AnswerT_co = TypeVar("AnswerT_co", covariant=True)


class KeyValue(Protocol[AnswerT_co]):
    """A client: its answers are values where it blocks, awaitables where it does not."""

    def put(self, key: str, value: bytes) -> AnswerT_co:
        """Write a value durably."""

    def get(self, key: str) -> AnswerT_co:
        """Read a value linearizably."""

    def pipeline(self, puts: Sequence[tuple[str, bytes]]) -> AnswerT_co:
        """Write values durably, one after the other, as fast as one client can."""

    def transaction(self, puts: Sequence[tuple[str, bytes]]) -> AnswerT_co:
        """Write values durably in one entry of the log."""


class BlockingClient(KeyValue[object], Protocol):
    """A client that returns when it has the answer, and that can be closed."""

    def close(self) -> None:
        """Close the connections."""


class LoopClient(KeyValue[Awaitable[object]], Protocol):
    """A client of an event loop, with any number of operations in flight."""

    async def close(self) -> None:
        """Close the connections."""
