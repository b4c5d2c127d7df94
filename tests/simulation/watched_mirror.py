"""Watched mirror: the mirror that one watch feeds, compared with the state at each revision."""

from protocol.client.mirror import Mirrored, MirroredKeys
from protocol.state.commands import Event
from tests.harness.breach import expect
from tests.simulation.setting import Setting

AHEAD = 3  # revisions after the present one that a waiter waits for


class WatchedMirror:
    """The mirror of a watcher. It goes on when its watch begins anew."""

    def __init__(self, setting: Setting, prefix: str) -> None:
        self._setting = setting
        self._prefix = prefix
        self._mirror: MirroredKeys[int] = MirroredKeys()  # a waiter is the revision it waits for
        self._waiting: set[int] = set()

    def begin_anew(self) -> None:
        """Expect the entries of another watch."""
        self._mirror.begin_anew()

    def take(self, change: Event | None, revision: int) -> None:
        """Take what the watch delivers, and check the entries of each revision."""
        mirror, before = self._mirror, dict(self._mirror.entries)
        was_synced, newest = mirror.is_synced, mirror.revision
        applied = mirror.take(change, revision)
        if not mirror.is_synced or (was_synced and mirror.revision == newest):
            expect(mirror.entries == before, "a mirror changes within a revision")
            return
        expect(mirror.revision >= newest, "a mirror goes back in time")
        self._check_entries()
        expect(_after(before, applied) == mirror.entries, "a mirror's changes are not all told")
        self._check_waiters()
        self._setting.totals.mirrored += 1

    def _check_entries(self) -> None:
        mirror = self._mirror
        rows = self._setting.judge.states.rows(self._prefix, mirror.revision)
        right = {key: Mirrored(row[3], row[1]) for key, row in rows.items()}
        expect(mirror.entries == right, f"a mirror is not the state of revision {mirror.revision}")
        expect(mirror.sorted_keys == sorted(right), "a mirror lists other keys than it has")

    def _check_waiters(self) -> None:
        mirror = self._mirror
        due = {each for each in self._waiting if each <= mirror.revision}
        expect(set(mirror.take_due()) == due, "a mirror wakes other waiters than are due")
        self._waiting -= due
        for revision in range(mirror.revision, mirror.revision + AHEAD):
            waits = mirror.wait(revision, revision)
            expect(waits == (revision > mirror.revision), "a waiter waits for a revision applied")
            self._waiting |= {revision} if waits else set()


def _after(entries: dict[str, Mirrored], changes: list[Event]) -> dict[str, Mirrored]:
    """Return entries after the changes that callbacks are told."""
    for change in changes:
        if change.value is None:
            entries.pop(change.key, None)
        else:
            entries[change.key] = Mirrored(change.value, change.revision)
    return entries
