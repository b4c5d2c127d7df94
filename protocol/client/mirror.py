"""Mirrored keys: the entries under a prefix as a watch delivers them, one whole revision at a time.

A revision is applied when all its changes have arrived, so that the entries are always those of one
revision. A watch that begins with entries delivers them first, and then a mark without a key: they
replace what is there, and the differences count as changes.
"""

from typing import Generic, NamedTuple, TypeVar

from protocol.state.commands import Event

WaiterT = TypeVar("WaiterT")


class Mirrored(NamedTuple):
    """The stored value of a key."""

    value: bytes
    revision: int  # of the key's last write


class MirroredKeys(Generic[WaiterT]):
    """The entries of one prefix, and the waiters for revisions of theirs."""

    def __init__(self) -> None:
        """Begin before the first entries."""
        self.entries: dict[str, Mirrored] = {}
        self.revision = 0  # that the entries show
        self.is_synced = False  # whether they are there, and a watch follows them
        self._arrived: list[Event] = []  # changes of a revision of which more will arrive
        self._waiters: dict[WaiterT, int] = {}
        self._sorted: list[str] | None = None

    @property
    def sorted_keys(self) -> list[str]:
        """The keys in order; not to be changed."""
        if self._sorted is None:
            self._sorted = sorted(self.entries)
        return self._sorted

    def begin_anew(self) -> None:
        """Expect the entries of another watch; those of the last one stay until then."""
        self.is_synced = False
        self._arrived.clear()

    def take(self, change: Event | None, revision: int) -> list[Event]:
        """Take the next change of the watch, None where only its revision has advanced.

        ``revision`` is that of which all changes have arrived. Return the changes that were
        applied, in order.
        """
        if change is not None and change.key:
            self._arrived.append(change)
        if not self.is_synced:
            return self._begin(change.revision) if change is not None and not change.key else []
        if revision <= self.revision:
            return []
        # The change that completes a revision may be the first of the next one.
        applied = [each for each in self._arrived if each.revision <= revision]
        self._arrived = self._arrived[len(applied) :]
        for each in applied:
            self._apply(each)
        self.revision = revision
        return applied

    # --- waiters

    def wait(self, revision: int, waiter: WaiterT) -> bool:
        """Add a waiter for a revision; return False if that was applied already."""
        if self.revision >= revision:
            return False
        self._waiters[waiter] = revision
        return True

    def forget(self, waiter: WaiterT) -> None:
        """Remove a waiter, if it is still there."""
        self._waiters.pop(waiter, None)

    def take_due(self) -> list[WaiterT]:
        """Remove and return the waiters whose revision was applied."""
        due = [waiter for waiter, revision in self._waiters.items() if revision <= self.revision]
        for waiter in due:
            del self._waiters[waiter]
        return due

    def take_waiters(self) -> list[WaiterT]:
        """Remove and return all waiters: no further revision will be applied."""
        waiters, self._waiters = list(self._waiters), {}
        return waiters

    # ---

    def _begin(self, revision: int) -> list[Event]:
        """Replace the entries by those that have arrived; return the differences as changes."""
        present = {each.key: each for each in self._arrived if each.value is not None}
        self._arrived = []
        changes = [
            Event(revision, key, None, before.revision)
            for key, before in self.entries.items()
            if key not in present
        ]
        for key, entry in present.items():
            before = self.entries.get(key)
            if before is None or before.revision != entry.revision:
                prev_revision = 0 if before is None else before.revision
                changes.append(Event(entry.revision, key, entry.value, prev_revision))
        for each in changes:
            self._apply(each)
        self.is_synced = True
        self.revision = max(self.revision, revision)
        return changes

    def _apply(self, change: Event) -> None:
        is_known = change.key in self.entries
        if change.value is None:
            self.entries.pop(change.key, None)
        else:
            self.entries[change.key] = Mirrored(change.value, change.revision)
        if is_known != (change.value is not None):
            self._sorted = None
