"""Writer of the demo: writes one key after another and notes each acknowledgement."""

import itertools
import threading
import time
from collections.abc import Iterable, Sequence
from itertools import pairwise
from types import TracebackType
from typing import Self

from skiff.client import Client
from skiff.errors import SkiffError


class Writer:
    """A thread that writes until the context ends."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self._addresses = addresses
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="demo-writer", daemon=True)
        self.acknowledged: dict[str, int] = {}
        self.acknowledged_at: list[float] = []  # monotonic seconds

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ending.set()
        if kind is None:
            self._thread.join()

    def _run(self) -> None:
        with Client(self._addresses, key="") as client:
            for number in itertools.count(1):
                if self._ending.is_set():
                    return
                self._write(client, f"demo/{number:06}", number)

    def _write(self, client: Client, key: str, number: int) -> None:
        try:
            client.insert(key, number)
        except SkiffError:
            return  # not acknowledged, so it may be lost
        self.acknowledged[key] = number
        self.acknowledged_at.append(time.monotonic())


def longest_silence(times: Iterable[float]) -> float:
    """Return the longest gap between consecutive times."""
    return max((later - earlier for earlier, later in pairwise(times)), default=0.0)
