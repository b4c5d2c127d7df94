"""The client that the benchmark needs of a store."""

from typing import Protocol, TypeVar

AnswerT_co = TypeVar("AnswerT_co", covariant=True)


class KeyValue(Protocol[AnswerT_co]):
    """A client: its answers are values where it blocks, awaitables where it does not."""

    def put(self, key: str, value: bytes) -> AnswerT_co:
        """Write a value durably."""

    def get(self, key: str) -> AnswerT_co:
        """Read a value linearizably."""


class BlockingClient(KeyValue[object], Protocol):
    """A client that returns when it has the answer, and that can be closed."""

    def close(self) -> None:
        """Let go of the connections."""
