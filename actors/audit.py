"""Audit: writes the audit trail of one node as lines of JSON, in files that are rotated."""

import logging
import os
import pwd
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from actors.logs import OnceAWhile
from protocol.audit import AuditRecord, RecordLimit, RefusedConnections
from protocol.deadlines import NEVER

FILE = "audit.ndjson"  # and FILE.1, the one before it, to FILE.3
FILE_BYTES_MAX = 8 << 20
FILES_MAX = 4
MODE = 0o600

log = logging.getLogger("skiff.audit")


class AuditTrail:
    """The files in a node's directory; the first record creates them."""

    def __init__(self, directory: str) -> None:
        self._path = Path(directory) / FILE
        self._limit = RecordLimit()
        self.refused = RefusedConnections()
        self._failures = OnceAWhile()

    def write(self, records: list[AuditRecord], now: float) -> None:
        """Append records within the limits, and those of what was counted that are due.

        ``now`` is of a steady clock. A full disk loses records, which is logged.
        """
        counted = self._limit.take(now)
        admitted = [self._limit.admit(each, now) for each in records]
        due = [*counted, *admitted, *self.refused.take(now)]
        lines = [_line(each) for each in due if each is not None]
        try:
            if lines:
                self._append(b"".join(lines))
        except OSError as error:
            if self._failures.is_due(now):
                log.error("the audit trail cannot be written: %s", error)

    @property
    def deadline(self) -> float:
        """When a record of what was counted is due, by the clock of ``write``."""
        return min(self._limit.deadline, self.refused.deadline)

    def close(self) -> None:
        """Append the records of all that was counted."""
        self.write([], NEVER)

    def write_offline(self, operation: str, target: str) -> None:
        """Append that the operating system's user did something to the directory."""
        self.write([AuditRecord(_system_user(), "", operation, target, "done")], 0.0)

    def _append(self, data: bytes) -> None:
        if self._path.exists() and self._path.stat().st_size + len(data) > FILE_BYTES_MAX:
            self._rotate()
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(self._path, flags, MODE)
        try:
            os.fchmod(descriptor, MODE)  # it may have been made by another program
            _write_all(descriptor, data)
        finally:
            os.close(descriptor)

    def _rotate(self) -> None:
        for number in range(FILES_MAX - 1, 0, -1):
            older = self._path.with_name(f"{FILE}.{number}")
            newer = self._path if number == 1 else self._path.with_name(f"{FILE}.{number - 1}")
            if newer.exists():
                newer.replace(older)


def _write_all(descriptor: int, data: bytes) -> None:
    """Append all of the data, or nothing: a full disk takes the beginning of a line.

    Raises:
        OSError: it cannot be written.
    """
    size, written = os.fstat(descriptor).st_size, 0
    try:
        while written < len(data):
            written += os.write(descriptor, data[written:])
    except OSError:
        os.ftruncate(descriptor, size)
        raise


def _system_user() -> str:
    """Return the name of this process's user, in a form that no user of a cluster has."""
    try:
        return f"os:{pwd.getpwuid(os.getuid()).pw_name}"
    except KeyError:
        return f"os:{os.getuid()}"


def _line(record: AuditRecord) -> bytes:
    fields = {"time": datetime.now(UTC), **msgspec.structs.asdict(record)}
    return msgspec.json.encode(fields) + b"\n"
