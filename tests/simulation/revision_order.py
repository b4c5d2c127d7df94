"""Linearizability by revision: every outcome has a place in the one order of all changes.

The revisions give the place of each operation. The check is that this order is consistent with
real time, and that every outcome is right at its place. Independent of ``search``.
"""

from bisect import bisect_right
from typing import NamedTuple

from protocol.commands import Inserted, Removed
from protocol.messages.client import Found, Missing
from tests.simulation.breach import expect
from tests.simulation.history import Kind, Operation


class Placed(NamedTuple):
    """An operation and its place: twice the revision for a change, plus one for its readers."""

    place: int
    operation: Operation


class RevisionOrder:
    """All operations of a history whose outcomes have a revision."""

    def __init__(self, operations: list[Operation]) -> None:
        self._operations = operations
        self._changes: dict[int, Operation] = {}  # by revision
        self._by_key: dict[str, list[int]] = {}  # revisions of known changes
        self._lost_inserts = {
            (each.key, each.value): each
            for each in operations
            if each.kind is Kind.INSERT and each.outcome is None
        }
        self._lost_removals = {
            each.key for each in operations if each.kind is Kind.REMOVE and each.outcome is None
        }

    def check(self) -> None:
        """Raise a breach if an outcome is impossible."""
        placed = [Placed(2 * revision, each) for revision, each in self._note_changes().items()]
        for operation in self._operations:
            revision = _seen_revision(operation)
            if revision is not None:
                self._check_seen(operation, revision)
                placed.append(Placed(2 * revision + 1, operation))
        _check_time(placed)

    def _note_changes(self) -> dict[int, Operation]:
        """Collect the operation of each change, also if only a read knows of it."""
        for operation in self._operations:
            match operation.outcome:
                case Inserted(revision=revision) | Removed(existed=True, revision=revision):
                    self._note(revision, operation)
                case Found(mod_revision=revision, value=value):
                    maker = self._lost_inserts.get((operation.key, value))
                    if maker is not None:
                        self._note(revision, maker)
        for revision in sorted(self._changes):
            self._by_key.setdefault(self._changes[revision].key, []).append(revision)
        for revision, operation in self._changes.items():
            if operation.if_revision is not None:
                self._check_condition(operation, revision, operation.if_revision)
        return self._changes

    def _note(self, revision: int, operation: Operation) -> None:
        known = self._changes.setdefault(revision, operation)
        expect(known is operation, f"two changes of revision {revision}")

    def _check_condition(self, operation: Operation, revision: int, required: int) -> None:
        before = self._last_change(operation.key, revision - 1)
        if required:
            expect(before <= required, "a condition was met though the key had changed since")
        else:
            self._check_absent(operation.key, revision - 1)

    def _check_seen(self, operation: Operation, revision: int) -> None:
        match operation.outcome:
            case Found(mod_revision=made, value=value):
                maker = self._changes.get(made)
                expect(maker is not None, f"a read found an unwritten value at revision {made}")
                assert maker is not None
                same = (maker.kind, maker.key, maker.value) == (Kind.INSERT, operation.key, value)
                expect(same, f"a read found another value than was written at revision {made}")
                last = self._last_change(operation.key, revision)
                expect(last <= made <= revision, "a read missed a change before its revision")
            case _:
                self._check_absent(operation.key, revision)

    def _check_absent(self, key: str, revision: int) -> None:
        last = self._last_change(key, revision)
        gone = not last or self._changes[last].kind is Kind.REMOVE
        expect(gone or key in self._lost_removals, f"{key} was called absent and was there")

    def _last_change(self, key: str, revision: int) -> int:
        """Return the last known change of a key up to a revision, or 0."""
        revisions = self._by_key.get(key, [])
        position = bisect_right(revisions, revision)
        return revisions[position - 1] if position else 0


def _seen_revision(operation: Operation) -> int | None:
    match operation.outcome:
        case Found(revision=revision) | Missing(revision=revision):
            return revision
        case Removed(existed=False, revision=revision):
            return revision
        case _:
            return None


def _check_time(placed: list[Placed]) -> None:
    """Check that no operation is placed before one that had ended when it began."""
    placed.sort(key=lambda each: each.place)
    begun_before = begun_here = 0  # the latest start at lower places, and up to this one
    place = -1
    for each in placed:
        if each.place != place:
            begun_before, place = begun_here, each.place
        ended = each.operation.ended
        in_time = ended is None or ended > begun_before
        expect(in_time, f"out of the order of time: {each.operation}")
        begun_here = max(begun_here, each.operation.begun)
