"""Coordination: lines, elections, barriers and queues over a store in memory."""

from typing import Any

import pytest

from protocol.coordination import barrier, election, queue
from protocol.coordination.line import Line, Removals, contend
from protocol.coordination.procedure import AwaitChange, Commit, Entries, Procedure, ReadEntries
from protocol.messages.client import ScannedEntry
from protocol.state.commands import Insert, Inserted, NoLease, Remove, Transact, Transacted

LOCK = Line("l/")
SEMAPHORE = Line("s/", slots=2)
READ_WRITE = Line("rw/", shared="rw/r")


class Store:
    """Keys with their revisions, and the changes so far."""

    def __init__(self) -> None:
        self.entries: dict[str, ScannedEntry] = {}
        self.changes: list[tuple[str, bool]] = []  # key, and whether it was removed
        self.kept_from = 0  # revision after which changes are kept
        self.ended_leases: set[int] = set()

    def insert(self, key: str, value: bytes = b"") -> int:
        self.changes.append((key, False))
        revision = len(self.changes)
        before = self.entries.get(key)
        created = revision if before is None else before.create_revision
        self.entries[key] = ScannedEntry(key, created, revision, 1, value)
        return revision

    def remove(self, key: str) -> None:
        del self.entries[key]
        self.changes.append((key, True))

    def apply(self, command: object) -> object:
        match command:
            case Insert(lease=lease) if lease in self.ended_leases:
                return NoLease(lease, True)
            case Insert(key=key, value=value):
                return Inserted(self.insert(key, value))
            case Remove(key=key):
                self.remove(key)
                return None
            case Transact(checks=checks, then=then):
                held = all((check.key in self.entries) == check.exists for check in checks)
                results = [self.apply(each) for each in then] if held else []
                refused = next((each for each in results if isinstance(each, NoLease)), None)
                return refused or Transacted(held, len(self.changes), ())
        raise AssertionError(command)


class Task:
    """One procedure, performed until it waits for a change that has not come."""

    def __init__(self, store: Store, procedure: Procedure[Any]) -> None:
        self.store = store
        self.result: Any = None
        self.is_over = False
        self.reads = 0
        self._procedure = procedure
        self._wait: AwaitChange | None = None
        self._seen = 0  # revision
        self._send(None)

    def go_on(self) -> "Task":
        """Take the changes since the last look."""
        while self._wait is not None and not self.is_over:
            if self._seen < self.store.kept_from:
                self._send(None)
            elif not self._take_changes(self._wait):
                break
        return self

    def _take_changes(self, wait: AwaitChange) -> bool:
        for key, is_removed in self.store.changes[self._seen :]:
            self._seen += 1
            if key.startswith(wait.prefix) and wait.ends_with(key, is_removed):
                self._send(None)
                return True
        return False

    def _send(self, result: object) -> None:
        self._wait = None
        try:
            while self._wait is None:
                result = self._perform(self._procedure.send(result))
        except StopIteration as stop:
            self.result, self.is_over = stop.value, True

    def _perform(self, step: object) -> object:
        match step:
            case Commit(command=command):
                return self.store.apply(command)
            case ReadEntries(prefix=prefix, enough=enough):
                self.reads += 1
                names = sorted(each for each in self.store.entries if each.startswith(prefix))
                found = tuple(self.store.entries[each] for each in names[:enough])
                return Entries(len(self.store.changes), found)
            case AwaitChange():
                self._wait, self._seen = step, step.since
                return None
        raise AssertionError(step)


@pytest.fixture
def store() -> Store:
    return Store()


def contenders(store: Store, line: Line, *keys: str) -> list[Task]:
    return [Task(store, contend(line, key, b"", 1)) for key in keys]


# --- lines


def test_contenders_have_their_turn_in_the_order_in_which_they_came(store: Store) -> None:
    first, second, third = contenders(store, LOCK, "l/z", "l/a", "l/m")
    assert (first.result, second.is_over, third.is_over) == (1, False, False)
    store.remove("l/z")
    assert second.go_on().result == 2
    assert not third.go_on().is_over
    store.remove("l/a")
    assert third.go_on().result == 3


def test_a_contender_watches_only_the_one_ahead_of_it(store: Store) -> None:
    *_, last = contenders(store, LOCK, "l/1", "l/2", "l/3")
    store.remove("l/1")
    assert last.go_on().reads == 1


def test_a_contender_moves_up_when_one_ahead_gives_up(store: Store) -> None:
    _, second, third = contenders(store, LOCK, "l/1", "l/2", "l/3")
    store.remove("l/2")
    assert not third.go_on().is_over
    store.remove("l/1")
    assert third.go_on().result == 3
    assert (second.go_on().is_over, second.result) == (True, None)


def test_a_contender_whose_key_is_gone_has_no_turn(store: Store) -> None:
    _, second = contenders(store, LOCK, "l/1", "l/2")
    store.remove("l/2")
    store.remove("l/1")
    assert second.go_on().is_over
    assert second.result is None


def test_a_contender_whose_lease_has_ended_does_not_join(store: Store) -> None:
    store.ended_leases.add(1)
    (only,) = contenders(store, LOCK, "l/1")
    assert (only.is_over, only.result, store.entries) == (True, None, {})


def test_a_contender_reads_again_where_the_history_is_gone(store: Store) -> None:
    _, second = contenders(store, LOCK, "l/1", "l/2")
    store.remove("l/1")
    store.kept_from = len(store.changes)
    assert second.go_on().result == 2
    assert second.reads == 2


def test_a_semaphore_has_as_many_holders_as_slots(store: Store) -> None:
    tasks = contenders(store, SEMAPHORE, "s/1", "s/2", "s/3", "s/4")
    assert [task.is_over for task in tasks] == [True, True, False, False]
    store.remove("s/2")
    assert [task.go_on().is_over for task in tasks] == [True, True, True, False]
    assert tasks[3].reads == 1  # it counts the others by their removals
    store.remove("s/1")
    assert tasks[3].go_on().result == 4


def test_readers_share_and_writers_do_not(store: Store) -> None:
    keys = ("rw/r1", "rw/r2", "rw/w1", "rw/r3", "rw/w2")
    tasks = contenders(store, READ_WRITE, *keys)
    assert [task.is_over for task in tasks] == [True, True, False, False, False]
    store.remove("rw/r2")
    assert not tasks[2].go_on().is_over
    store.remove("rw/r1")
    assert tasks[2].go_on().is_over
    assert not tasks[3].go_on().is_over
    store.remove("rw/w1")
    assert [task.go_on().is_over for task in tasks[3:]] == [True, False]


def test_removals_count_each_key_once() -> None:
    removals = Removals(("a", "b", "c"), 2)
    changes = [("a", False), ("a", True), ("a", True), ("x", True)]
    assert not any(removals.take(*each) for each in changes)
    assert removals.take("c", True)


# --- elections


def test_observers_see_leaders_and_what_they_proclaim(store: Store) -> None:
    line = Line("e/")
    assert Task(store, election.find_leader(line)).result is None
    following = Task(store, election.next_leader(line, None))
    store.insert("e/2", b"two")
    leader = following.go_on().result
    assert (leader.key, leader.value) == ("e/2", b"two")
    following = Task(store, election.next_leader(line, leader))
    store.insert("e/1", b"one")  # it is behind the leader
    assert not following.go_on().is_over
    assert following.reads == 1
    store.insert("e/2", b"more")
    leader = following.go_on().result
    assert (leader.key, leader.value, leader.create_revision) == ("e/2", b"more", 1)
    store.remove("e/2")
    assert Task(store, election.next_leader(line, leader)).result.key == "e/1"


# --- barriers


def test_a_barrier_is_passed_once_it_is_removed(store: Store) -> None:
    assert Task(store, barrier.await_removal("b")).is_over
    store.insert("b")
    waiting = Task(store, barrier.await_removal("b"))
    store.remove("b")
    store.insert("b")
    assert not waiting.go_on().is_over  # it is up again
    store.remove("b")
    assert waiting.go_on().is_over


def entering(store: Store, *keys: str) -> list[Task]:
    return [Task(store, barrier.enter("d/", key, b"", 1, 2)) for key in keys]


def test_parties_enter_when_all_are_there(store: Store) -> None:
    first, second = entering(store, "d/1", "d/2")
    assert second.result == 2
    store.remove("d/2")  # it has left before the first one looks
    assert first.go_on().result == 1


def test_parties_leave_when_all_have_although_some_are_back(store: Store) -> None:
    entering(store, "d/1", "d/2")
    before = Task(store, barrier.look("d/")).result
    store.remove("d/1")
    waiting = Task(store, barrier.await_absence("d/", before))
    assert not waiting.go_on().is_over
    store.remove("d/2")
    store.insert("d/2")
    assert waiting.go_on().is_over


def test_a_party_that_looks_late_has_not_missed_the_absence(store: Store) -> None:
    store.insert("d/1")
    before = Task(store, barrier.look("d/")).result
    store.remove("d/1")
    store.insert("d/2")
    assert Task(store, barrier.await_absence("d/", before)).go_on().is_over


def test_a_party_counts_anew_where_the_history_is_gone(store: Store) -> None:
    (first,) = entering(store, "d/1")
    store.insert("d/2")
    store.insert("x")
    store.kept_from = len(store.changes)
    assert first.go_on().result == 1


def test_a_party_whose_key_is_gone_does_not_enter(store: Store) -> None:
    (first,) = entering(store, "d/1")
    store.remove("d/1")
    store.kept_from = len(store.changes)
    assert (first.go_on().is_over, first.result) == (True, None)


# --- queues


def put(store: Store, number: int) -> None:
    store.insert(queue.QueueKeys("q").item(number), str(number).encode())


def taking(store: Store, lease: int = 1) -> Task:
    return Task(store, queue.take(queue.QueueKeys("q"), b"", lease))


def test_items_are_claimed_in_order_by_one_consumer_each(store: Store) -> None:
    for number in (10, 2, 300):
        put(store, number)
    claims = [taking(store).result for _ in range(3)]
    assert [claim.value for claim in claims] == [b"2", b"10", b"300"]
    assert not taking(store).is_over


def test_a_consumer_waits_for_a_new_item_or_the_end_of_a_claim(store: Store) -> None:
    put(store, 1)
    claim = taking(store).result
    waiting = [taking(store) for _ in range(3)]
    store.insert("q/next")
    assert not any(each.go_on().is_over for each in waiting)
    store.remove(claim.key)
    assert waiting[0].go_on().result.value == b"1"
    assert not waiting[1].go_on().is_over
    put(store, 2)
    assert waiting[2].go_on().result.value == b"2"
    assert not waiting[1].go_on().is_over


def test_an_acknowledged_item_is_gone(store: Store) -> None:
    put(store, 1)
    put(store, 2)
    claim = taking(store).result
    store.remove(claim.item)
    store.remove(claim.key)
    assert taking(store).result.value == b"2"


def test_a_consumer_whose_lease_has_ended_claims_nothing(store: Store) -> None:
    put(store, 1)
    store.ended_leases.add(1)
    assert (taking(store).is_over, taking(store).result) == (True, None)
    assert taking(store, lease=2).result.value == b"1"


def test_keys_below_the_items_hide_none(store: Store) -> None:
    for number in range(20):
        store.insert(queue.QueueKeys("q/item-0").item(number))
    put(store, 1)
    assert taking(store).result.value == b"1"


def test_many_claims_hide_no_free_item(store: Store) -> None:
    for number in range(50):
        put(store, number)
    taken = [taking(store).result for _ in range(50)]
    assert len({claim.item for claim in taken}) == 50
