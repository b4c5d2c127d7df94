"""Client: the interface that the benchmark requires of a store's client."""

from collections.abc import AsyncIterable, Awaitable, Sequence
from typing import Any, Protocol, TypeAlias, TypeVar

AnswerT_co = TypeVar("AnswerT_co", covariant=True)


class Change(Protocol):
    """A change of a key that is watched."""

    @property
    def value(self) -> Any:
        """The value that was written, in bytes."""


Changes: TypeAlias = AsyncIterable[Change]


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

    def lock(self, name: str) -> AnswerT_co:
        """Acquire a lock, waiting for it, and release it."""

    def keep_alive(self) -> AnswerT_co:
        """Keep one of the client's leases alive until the store confirms it."""


class BlockingClient(KeyValue[object], Protocol):
    """A client whose methods return when the operation is done."""

    def close(self) -> None:
        """Close the connections."""


class LoopClient(KeyValue[Awaitable[object]], Protocol):
    """A client of an event loop, for concurrent operations."""

    async def watch(self, prefix: str, subscribers: int) -> Sequence[Changes]:
        """Watch a prefix a number of times; return when the store has confirmed all."""

    async def close(self) -> None:
        """Close the connections."""
