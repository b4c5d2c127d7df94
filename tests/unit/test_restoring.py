"""Restoring: a restored state is that of a new cluster, with new session numbers."""

import pytest

from protocol.address import Address
from protocol.entry import EntryKind, LogEntry
from protocol.state.commands import Batch, Insert, OpenSession, SessionExpired, SessionOpened, Write
from protocol.state.machine import SESSION_MAX, StateMachine
from protocol.storage.restoring import DamagedSnapshot, Restoring
from protocol.storage.state_tables import TableSets
from protocol.wire import encode
from tests.harness.stored_node import CLUSTER, PEER, UNLIMITED, MortalDisk, StoredNode, history

OPENED_AFTER_THE_BACKUP = 5
SKIPPED = 1000


def restored(disk: MortalDisk, sessions_skipped: int) -> StateMachine:
    """Return the state machine that is restored from a backup with one session."""
    source = StoredNode()
    source.apply(*history(12))
    restoring = Restoring(disk, UNLIMITED)
    for chunk in source.chunks():
        restoring.take(chunk)
    restoring.finish(PEER, CLUSTER, Address("127.0.0.1"), sessions_skipped=sessions_skipped)
    return TableSets(disk).active.machine()


def test_a_restored_state_reuses_no_session_number() -> None:
    machine = restored(MortalDisk(), SKIPPED)
    late = Write(1 + OPENED_AFTER_THE_BACKUP, 1, 0, Insert("a", b"x"))
    batch = encode(Batch(PEER, 1, 0, (*[Write(0, 0, 0, OpenSession())] * 2, late)))
    entry = LogEntry(machine.applied_index + 1, 1, EntryKind.BATCH, batch)
    first, second, refused = machine.apply(entry).results
    assert (first, second) == (SessionOpened(SKIPPED + 2), SessionOpened(SKIPPED + 3))
    assert refused == SessionExpired(), "it is a session of the old cluster"


def test_a_state_without_free_session_numbers_is_refused_and_not_activated() -> None:
    disk = MortalDisk()
    with pytest.raises(DamagedSnapshot, match="session numbers"):
        restored(disk, SESSION_MAX)
    disk.write(sync=True)
    assert TableSets(disk).active.machine().applied_index == 0
