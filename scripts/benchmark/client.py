"""Client: the interface that the benchmark requires of a store's client."""

from collections.abc import Awaitable, Sequence
from typing import Protocol, TypeVar

AnswerT_co = TypeVar("AnswerT_co", covariant=True)


class KeyValue(Protocol[AnswerT_co]):
    """A client; its methods return values if it blocks, awaitables otherwise."""

    def put(self, key: str, value: bytes) -> AnswerT_co:
        """Write a value durably."""

    def get(self, key: str) -> AnswerT_co:
        """Read a value linearizably."""

    def pipeline(self, puts: Sequence[tuple[str, bytes]]) -> AnswerT_co:
        """Write values durably and in order, as fast as one client can."""

    def transaction(self, puts: Sequence[tuple[str, bytes]]) -> AnswerT_co:
        """Write values durably in one transaction."""

    def scan(self, prefix: str) -> AnswerT_co:
        """Read all entries under a prefix, at one revision; return their number."""


class BlockingClient(KeyValue[object], Protocol):
    """A client whose methods return when the operation is done."""

    def close(self) -> None:
        """Close the connections."""


class LoopClient(KeyValue[Awaitable[object]], Protocol):
    """A client of an event loop, for concurrent operations."""

    async def close(self) -> None:
        """Close the connections."""
