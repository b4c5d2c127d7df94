"""The job of one client process: operations, keys and window."""

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar, assert_never

from scripts.benchmark.client import BlockingClient, KeyValue

AnswerT = TypeVar("AnswerT")
Verb = Literal["put", "get", "pipeline", "transaction"]

VALUE_BYTES = 256  # where a workload says nothing else
SEEDED_KEYS = 256
# Wide enough that no two values of a storage block are alike and compress away.
_noise = random.Random(1).randbytes(1 << 18)


@dataclass(frozen=True)
class Window:
    """When to begin and when to end, on the clock that all processes of a machine share."""

    start_ns: int
    end_ns: int

    def wait_for_start(self) -> None:
        """Sleep until the window begins."""
        time.sleep(max(0, self.start_ns - time.monotonic_ns()) / 1e9)


@dataclass(frozen=True)
class Job:
    """The operations of one client; its number keeps its keys apart from the others'."""

    name: str
    verb: Verb
    client: int
    in_flight: int
    addresses: Sequence[str]
    value_bytes: int = VALUE_BYTES
    puts: int = 1  # in one pipeline or transaction

    def perform(self, client: KeyValue[AnswerT], number: int) -> AnswerT:
        """Begin the operation with this number and return what the client answers."""
        match self.verb:
            case "put":
                return client.put(*self._put(number))
            case "get":
                return client.get(seeded_key(number))
            case "pipeline":
                return client.pipeline(self._puts(number))
            case "transaction":
                return client.transaction(self._puts(number))
            case unknown:
                assert_never(unknown)

    def _puts(self, number: int) -> list[tuple[str, bytes]]:
        return [self._put(number * self.puts + each) for each in range(self.puts)]

    def _put(self, number: int) -> tuple[str, bytes]:
        return f"{self.name}/{self.client}/{number}", value_of(number, self.value_bytes)


def value_of(number: int, size: int = VALUE_BYTES) -> bytes:
    """Return the value of so many bytes that goes with a number."""
    start = number * 61 % (len(_noise) - size)
    return _noise[start : start + size]


def seeded_key(number: int) -> str:
    """Return one of the keys that exist before anything is measured."""
    return f"seeded/{number % SEEDED_KEYS}"


def seed(client: BlockingClient) -> None:
    """Write the keys that are read later, and see that one comes back."""
    for number in range(SEEDED_KEYS):
        client.put(seeded_key(number), value_of(number))
    if client.get(seeded_key(0)) != value_of(0):
        raise RuntimeError("a value that was written did not come back")
