"""Linearizability by revision: every outcome has a place in the one order of all changes.

The revisions give the place of each operation. The check is that this order is consistent with
real time, and that every outcome is right at its place. Independent of ``search``.
"""

from bisect import bisect_right
from typing import NamedTuple

from protocol.state.commands import Found, Inserted, Missing, Removed, Transacted
from tests.harness.breach import expect
from tests.simulation.history import Kind, Operation
from tests.simulation.parts import counters_of, parts_of, prefixes_of


class Placed(NamedTuple):
    """An operation and its place: twice the revision for a change, plus one for its readers."""

    place: int
    operation: Operation


class RevisionOrder:
    """All operations of a history whose outcomes have a revision."""

    def __init__(self, operations: list[Operation]) -> None:
        self._operations = operations
        self._changes: dict[int, Operation] = {}  # by revision
        self._writes: dict[tuple[int, str], Operation] = {}  # parts, by revision and key
        self._by_key: dict[str, list[int]] = {}  # revisions of known changes
        lost = [each for each in operations if each.outcome is None]
        self._lost_inserts = {
            (part.key, part.value): (each, part)
            for each in lost
            for part in parts_of(each)
            if part.kind is Kind.INSERT
        }
        self._lost_removals = {
            part.key for each in lost for part in parts_of(each) if part.kind is Kind.REMOVE
        }
        self._prefixes = [prefix for each in operations for prefix in prefixes_of(each)]
        self._counters = {key for each in operations for key in counters_of(each)}

    def check(self) -> None:
        """Raise a breach if an outcome is impossible."""
        self._note_changes()
        placed = [Placed(2 * revision, each) for revision, each in self._changes.items()]
        for operation in self._operations:
            for part in parts_of(operation):
                revision = _seen_revision(part)
                if revision is not None:
                    self._check_seen(part, revision)
            revision = _revision_without_change(operation)
            if revision is not None and self._changes.get(revision) is not operation:
                placed.append(Placed(2 * revision + 1, operation))
        _check_time(placed)

    def _note_changes(self) -> None:
        """Collect the operation of each change, also if only a read knows of it."""
        for operation in self._operations:
            for part in parts_of(operation):
                self._note_part(operation, part)
        for revision, key in sorted(self._writes):
            self._by_key.setdefault(key, []).append(revision)
        for revision, operation in self._changes.items():
            if operation.if_revision is not None:
                self._check_condition(operation.key, revision, operation.if_revision)
            self._check_checks(operation, revision)

    def _note_part(self, operation: Operation, part: Operation) -> None:
        match part.outcome:
            case Inserted(revision=revision) | Removed(existed=True, revision=revision):
                self._note(revision, operation, part)
            case Found(mod_revision=revision, value=value):
                source, maker = self._lost_inserts.get((part.key, value), (None, part))
                if source is not None:
                    self._note(revision, source, maker)

    def _note(self, revision: int, operation: Operation, part: Operation) -> None:
        known = self._changes.setdefault(revision, operation)
        expect(known is operation, f"two changes of revision {revision}")
        self._writes[revision, part.key] = part

    def _check_checks(self, operation: Operation, revision: int) -> None:
        """Check the conditions of a transaction that succeeded."""
        outcome = operation.outcome
        if operation.command is None or not isinstance(outcome, Transacted):
            return
        for check in operation.command.checks if outcome.succeeded else ():
            if check.revision is not None:
                self._check_condition(check.key, revision, check.revision)

    def _check_condition(self, key: str, revision: int, required: int) -> None:
        if required:
            before = self._last_change(key, revision - 1)
            expect(before <= required, "a condition was met though the key had changed since")
        else:
            self._check_absent(key, revision - 1)

    def _check_seen(self, operation: Operation, revision: int) -> None:
        match operation.outcome:
            case Found(mod_revision=made, value=value):
                maker = self._writes.get((made, operation.key))
                if maker is None and operation.key in self._counters:
                    return  # made by an increment without an outcome
                expect(maker is not None, f"a read found an unwritten value at revision {made}")
                assert maker is not None
                same = (maker.kind, maker.value) == (Kind.INSERT, value)
                expect(same, f"a read found another value than was written at revision {made}")
                last = self._last_change(operation.key, revision)
                expect(last <= made <= revision, "a read missed a change before its revision")
            case _:
                self._check_absent(operation.key, revision)

    def _check_absent(self, key: str, revision: int) -> None:
        last = self._last_change(key, revision)
        gone = not last or self._writes[last, key].kind is Kind.REMOVE
        removed = any(key.startswith("" if each == "/" else each) for each in self._prefixes)
        known = gone or removed or key in self._lost_removals
        expect(known, f"{key} was called absent and was there")

    def _last_change(self, key: str, revision: int) -> int:
        """Return the last known change of a key up to a revision, or 0."""
        revisions = self._by_key.get(key, [])
        position = bisect_right(revisions, revision)
        return revisions[position - 1] if position else 0


def _seen_revision(part: Operation) -> int | None:
    """Return the revision that a read shows, or that a removal of an absent key does."""
    match part.outcome:
        case Found(revision=revision) | Missing(revision=revision):
            return revision
        case Removed(existed=False, revision=revision):
            return revision
        case _:
            return None


def _revision_without_change(operation: Operation) -> int | None:
    """Return the revision of an outcome that may have changed nothing."""
    if isinstance(operation.outcome, Transacted):
        return operation.outcome.revision
    return _seen_revision(operation)


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
