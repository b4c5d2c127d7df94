"""Client of ZooKeeper through Kazoo: blocks, and may be shared by threads."""

import logging
import threading
from collections.abc import Sequence
from typing import Any, NoReturn

from kazoo.client import KazooClient as Connection
from kazoo.exceptions import NodeExistsError
from kazoo.retry import KazooRetry

CONNECT_MAX_S = 15.0
CALL_MAX_S = 5.0
RETRY_PAUSE_S = 0.01  # before the next node is tried
logging.getLogger("kazoo").setLevel(logging.CRITICAL)  # it warns of each lost connection


class KazooClient:
    """Performs what ZooKeeper has of the benchmark's operations; retries on the next node."""

    def __init__(self, addresses: Sequence[str]) -> None:
        retry = KazooRetry(
            max_tries=-1, delay=RETRY_PAUSE_S, max_delay=RETRY_PAUSE_S, deadline=CALL_MAX_S
        )
        self._connection = Connection(
            ",".join(addresses),
            randomize_hosts=False,
            connection_retry=retry,
            command_retry=retry.copy(),
        )
        self._connection.start(CONNECT_MAX_S)
        self._locks = threading.local()

    def put(self, key: str, value: bytes) -> None:
        """Write a value; that of a new key takes one request once its folder is there."""
        connection = self._connection
        try:
            connection.retry(connection.create, _path(key), value, makepath=True)
        except NodeExistsError:
            connection.retry(connection.set, _path(key), value)

    def get(self, key: str) -> bytes | None:
        """Read a value linearizably: the node catches up with the leader first."""
        caught_up = self._connection.sync_async(_path(key))
        found = self._connection.get_async(_path(key))
        caught_up.get(timeout=CALL_MAX_S)
        value: bytes | None = found.get(timeout=CALL_MAX_S)[0]
        return value

    def pipeline(self, puts: Sequence[tuple[str, bytes]]) -> None:
        """Write values in order without waiting for each."""
        made = [
            self._connection.create_async(_path(key), value, makepath=True) for key, value in puts
        ]
        for each in made:
            each.get(timeout=CALL_MAX_S)

    def transaction(self, puts: Sequence[tuple[str, bytes]]) -> None:
        """Write values in one transaction."""
        self._connection.ensure_path(_path(puts[0][0]).rpartition("/")[0])
        transaction = self._connection.transaction()
        for key, value in puts:
            transaction.create(_path(key), value)
        failed = [each for each in transaction.commit() if isinstance(each, Exception)]
        if failed:
            raise failed[0]

    def scan(self, prefix: str) -> NoReturn:
        """Raise an error: ZooKeeper reads no prefix at one revision."""
        raise NotImplementedError(f"no scan of {prefix}")

    def lock(self, name: str) -> None:
        """Acquire a lock by Kazoo's recipe and release it; each thread keeps its lock object."""
        with self._lock(name):
            pass

    def keep_alive(self) -> NoReturn:
        """Raise an error: each connection keeps its session alive by itself."""
        raise NotImplementedError("no keep-alives")

    def close(self) -> None:
        """Close the connection."""
        self._connection.stop()
        self._connection.close()

    def _lock(self, name: str) -> Any:
        if getattr(self._locks, "name", None) != name:
            self._locks.name, self._locks.lock = name, self._connection.Lock(f"/locks/{name}")
        return self._locks.lock


def _path(key: str) -> str:
    return f"/{key}"
