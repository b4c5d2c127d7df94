"""Reader: serves reads from the tables, as encoded outcomes."""

from collections.abc import Callable
from typing import assert_never

import msgspec

from protocol.keys import encode_prefix
from protocol.messages.client import (
    Get,
    ListKeys,
    ListPrefixes,
    Names,
    ReadOperation,
    ReadOutcome,
    ReadSnapshot,
    SnapshotPart,
)
from protocol.state.commands import Found, Missing
from protocol.state.key_value import FIRST_USER_KEY, decode_stored_value
from protocol.state.tables import SortedTable
from protocol.wire import decode_read_batch, encode

PAGE_NAMES_MAX = 10_000  # in a page, of up to ``PAGE_BYTES_MAX``: appends wait while one is read
PAGE_BYTES_MAX = 1 << 20
SCAN_BYTES_MIN = 256 << 10  # minimum cost of a scan, which takes long even if it finds little


class Reader:
    """Serves batches of reads at the current revision."""

    def __init__(
        self,
        values: SortedTable,
        prefixes: SortedTable,
        write_tables: Callable[[], None],
        read_snapshot: Callable[[ReadSnapshot], SnapshotPart],
    ) -> None:
        """Call ``write_tables`` before each scan of the tables, which sees only written rows."""
        self._values = values
        self._prefixes = prefixes
        self._write_tables = write_tables
        self._read_snapshot = read_snapshot

    def serve(
        self, payload: bytes, revision: int, bytes_max: int
    ) -> tuple[tuple[msgspec.Raw, ...], int]:
        """Return the encoded outcomes of an encoded ``ReadBatch``, and their cost in bytes.

        The first operation is always read, further ones until the cost reaches ``bytes_max``.
        """
        outcomes: list[msgspec.Raw] = []
        weight = 0
        for operation in decode_read_batch(payload).operations:
            if outcomes and weight >= bytes_max:
                break
            encoded = encode(self._serve(operation, revision))
            outcomes.append(msgspec.Raw(encoded))
            weight += len(encoded) if type(operation) is Get else max(len(encoded), SCAN_BYTES_MIN)
        return tuple(outcomes), weight

    def _serve(self, operation: ReadOperation, revision: int) -> ReadOutcome:
        if isinstance(operation, Get):
            return self._get(operation.key, revision)
        self._write_tables()
        match operation:
            case ListKeys():
                return _list(self._values, operation, revision)
            case ListPrefixes():
                return _list(self._prefixes, operation, revision)
            case ReadSnapshot():
                return self._read_snapshot(operation)
            case unknown:
                assert_never(unknown)

    def _get(self, key: str, revision: int) -> ReadOutcome:
        stored = self._values.get(key.encode())
        if stored is None:
            return Missing(revision)
        value = decode_stored_value(stored)
        return Found(revision, value.create_revision, value.revision, value.version, value.value)


def _list(table: SortedTable, operation: ListKeys | ListPrefixes, revision: int) -> Names:
    """Return one page of names under the prefix, after ``start_after``."""
    prefix = encode_prefix(operation.prefix)
    first = max(prefix, FIRST_USER_KEY)
    if operation.start_after is not None:
        first = max(first, operation.start_after.encode() + b"\0")
    limit = min(operation.limit, PAGE_NAMES_MAX)
    names: list[str] = []
    size = 0
    for key in table.keys(first):
        if not key.startswith(prefix):
            break
        if len(names) >= limit or size > PAGE_BYTES_MAX:
            return Names(revision, tuple(names), more=True)
        names.append(key.decode())
        size += len(key)
    return Names(revision, tuple(names), more=False)
