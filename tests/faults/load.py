"""Load: steady writers for fault tests, which check that no acknowledged write is lost."""

import threading
import time
from itertools import pairwise
from types import TracebackType
from typing import Self

from skiff import OutcomeUnknown, SkiffError
from skiff.testing import Cluster, Node


class Load:
    """Writers that insert one new key after another, each through a client of its own."""

    def __init__(self, cluster: Cluster, *, writers: int, timeout: float = 30.0) -> None:
        self._cluster = cluster
        self._timeout = timeout
        self.writers = writers
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._write, args=(writer,)) for writer in range(writers)
        ]
        self.acknowledged: dict[str, int] = {}  # key to revision
        self._acknowledged_at: list[list[float]] = [[] for _ in range(writers)]
        self.unknown: list[str] = []
        self.failures: list[str] = []

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def wait_for(self, count: int, timeout: float = 30.0) -> None:
        """Wait until ``count`` further inserts are acknowledged."""
        goal = len(self.acknowledged) + count
        deadline = time.monotonic() + timeout
        while len(self.acknowledged) < goal:
            missing = goal - len(self.acknowledged)
            assert time.monotonic() < deadline, f"{missing} inserts were not acknowledged in time"
            time.sleep(0.01)

    def longest_silence(self) -> float:
        """Return the longest time between two acknowledged inserts of a writer."""
        assert all(len(times) > 1 for times in self._acknowledged_at), "some writer never wrote"
        return max(b - a for times in self._acknowledged_at for a, b in pairwise(times))

    def check(self, node: Node) -> None:
        """Check that a node serves all acknowledged writes, each done once."""
        with node.client(timeout=20) as client:
            keys = set(client.list_keys("load/"))
            lost = sorted(set(self.acknowledged) - keys)
            assert not lost, f"{node} lost {len(lost)} acknowledged keys: {lost[:5]}"
            for key in list(self.acknowledged)[:: max(1, len(self.acknowledged) // 50)]:
                entry = client.get_entry(key, str)
                assert entry is not None
                assert (entry.version, entry.revision) == (1, self.acknowledged[key])

    def _write(self, writer: int) -> None:
        with self._cluster.client(timeout=self._timeout) as client:
            number = 0
            while not self._stop.is_set():
                key = f"load/{writer}/{number}"
                number += 1
                try:
                    self.acknowledged[key] = client.insert(key, key)
                    self._acknowledged_at[writer].append(time.monotonic())
                except OutcomeUnknown:
                    self.unknown.append(key)
                except SkiffError as error:
                    self.failures.append(f"{key}: {error!r}")
