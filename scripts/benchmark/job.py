"""Job: the operations, keys and window of one client process."""

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar, assert_never

from scripts.benchmark.client import BlockingClient, KeyValue

AnswerT = TypeVar("AnswerT")
Verb = Literal["put", "get", "pipeline", "transaction", "scan", "lock", "keep-alive"]

VALUE_BYTES = 256  # default of a workload
SEEDED_KEYS = 256
SCANNED_KEYS = 100_000
SCANNED_BYTES = 64
SCANNED = "scanned/"
SEED_PUTS = 100  # in a transaction; etcd accepts 128
# Wide enough that values within a storage block differ and do not compress away.
_noise = random.Random(1).randbytes(1 << 18)


@dataclass(frozen=True)
class Window:
    """The start and the end of a measurement, on the machine's shared clock."""

    start_ns: int
    end_ns: int

    def wait_for_start(self) -> None:
        """Sleep until the window begins."""
        time.sleep(max(0, self.start_ns - time.monotonic_ns()) / 1e9)


@dataclass(frozen=True)
class Job:
    """The operations of one client; its number separates its keys from other clients'."""

    name: str
    verb: Verb
    client: int
    in_flight: int  # operations, or watches
    addresses: Sequence[str]
    value_bytes: int = VALUE_BYTES
    puts: int = 1  # in one pipeline or transaction
    puts_a_second: int = 0  # of a client that writes at a fixed pace

    @property
    def prefix(self) -> str:
        """The prefix of the keys of all clients of the workload."""
        return f"{self.name}/"

    @property
    def warm_up_operations(self) -> int:
        """How many operations are performed before the window."""
        return 2 if self.verb == "scan" else 20

    def perform(self, client: KeyValue[AnswerT], number: int) -> AnswerT:
        """Start the operation of this number; return the client's result or awaitable."""
        match self.verb:
            case "put":
                return client.put(*self._put(number))
            case "get":
                return client.get(seeded_key(number))
            case "pipeline":
                return client.pipeline(self._puts(number))
            case "transaction":
                return client.transaction(self._puts(number))
            case "scan":
                return client.scan(SCANNED)
            case "lock" | "keep-alive":
                return client.lock(self.name) if self.verb == "lock" else client.keep_alive()
            case unknown:
                assert_never(unknown)

    def _puts(self, number: int) -> list[tuple[str, bytes]]:
        return [self._put(number * self.puts + each) for each in range(self.puts)]

    def _put(self, number: int) -> tuple[str, bytes]:
        return f"{self.prefix}{self.client}/{number}", value_of(number, self.value_bytes)


def value_of(number: int, size: int = VALUE_BYTES) -> bytes:
    """Return the value of ``size`` bytes that belongs to a number."""
    start = number * 61 % (len(_noise) - size)
    return _noise[start : start + size]


def seeded_key(number: int) -> str:
    """Return a key that was written before the measurements."""
    return f"seeded/{number % SEEDED_KEYS}"


def seed_scanned(client: BlockingClient) -> None:
    """Write the keys to scan, and count them."""
    for begin in range(0, SCANNED_KEYS, SEED_PUTS):
        numbers = range(begin, begin + SEED_PUTS)
        client.transaction(
            [(f"{SCANNED}{number:06}", value_of(number, SCANNED_BYTES)) for number in numbers]
        )
    if client.scan(SCANNED) != SCANNED_KEYS:
        raise RuntimeError("a scan returned another number of keys than were written")


def seed(client: BlockingClient) -> None:
    """Write the keys to read later, and read one back."""
    for number in range(SEEDED_KEYS):
        client.put(seeded_key(number), value_of(number))
    if client.get(seeded_key(0)) != value_of(0):
        raise RuntimeError("a value that was written did not come back")
