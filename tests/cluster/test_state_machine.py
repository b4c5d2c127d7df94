"""State machine: random operations of both clients on a real cluster, compared with a plain dict.

Nodes are killed now and then: every operation still has its one result.
"""

import asyncio
from collections.abc import Coroutine, Iterator
from random import Random
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from skiff import (
    AsyncClient,
    Check,
    Client,
    Entry,
    Get,
    Increment,
    Insert,
    NotInteger,
    Remove,
    RemovePrefix,
    RevisionMismatch,
)
from skiff.testing import Cluster

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180)]

SECONDS = 30.0
KEYS = st.sampled_from(["a", "a/1", "a/2", "ab", "b/1", "b/2/x", "é"])
PREFIXES = st.sampled_from(["", "/", "a", "a/", "b/", "none/"])
VALUES = st.one_of(
    st.integers(-5, 5), st.text(max_size=3), st.none(), st.lists(st.integers(-9, 9), max_size=2)
)
ResultT = TypeVar("ResultT")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    options = ("--election-timeout-min-ms", "750", "--election-timeout-max-ms", "1500")
    directory = tmp_path_factory.mktemp("machine")
    with Cluster(3, directory=directory, options=options) as running:
        yield running


class Store:
    """The same operations by a blocking or an asyncio client, chosen at random."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self._chance = Random(7)
        self._runner = asyncio.Runner()
        self._blocking = Client(cluster.addresses, timeout=SECONDS)
        self._loop_client = AsyncClient(cluster.addresses, timeout=SECONDS)

    def call(self, name: str, *arguments: Any, **options: Any) -> Any:
        """Call a method of one of the clients."""
        if self._chance.random() < 0.5:
            return getattr(self._blocking, name)(*arguments, **options)
        return self._run(getattr(self._loop_client, name)(*arguments, **options))

    def scan(self, prefix: str, **options: Any) -> list[Entry[Any]]:
        if self._chance.random() < 0.5:
            return list(self._blocking.scan(prefix, **options))

        async def collect() -> list[Entry[Any]]:
            return [each async for each in self._loop_client.scan(prefix, **options)]

        return self._run(collect())

    def kill_a_node(self) -> None:
        """Kill a node, and start it again; the majority goes on."""
        node = self._chance.choice(self.cluster.nodes)
        self.cluster.kill(node)
        self.call("insert", "killed", node.address)
        self.cluster.restart(node)

    def close(self) -> None:
        self._blocking.close()
        self._run(self._loop_client.aclose())
        self._runner.close()

    def _run(self, work: Coroutine[Any, Any, ResultT]) -> ResultT:
        return self._runner.run(work)


class Machine(RuleBasedStateMachine):
    """A dict of entries, and the store that must agree with it."""

    store: Store  # set by the test

    def __init__(self) -> None:
        super().__init__()
        self.store.call("remove_prefix", "")
        self.revision: int = self.store.call("insert", "b/1", 0)
        self.entries = {"b/1": Entry("b/1", 0, self.revision, self.revision, 1)}
        self.before = self.revision

    # --- the model

    def write(self, key: str, value: Any) -> None:
        """Write at the present revision."""
        old = self.entries.get(key)
        created, version = (self.revision, 0) if old is None else (old.create_revision, old.version)
        self.entries[key] = Entry(key, value, self.revision, created, version + 1)

    def under(self, prefix: str) -> list[Entry[Any]]:
        """Return the entries under a prefix, sorted."""
        start = "" if prefix == "/" else prefix
        found = [each for key, each in self.entries.items() if key.startswith(start)]
        return sorted(found, key=lambda each: each.key.encode())

    def drop(self, prefix: str) -> int:
        gone = self.under(prefix)
        for each in gone:
            del self.entries[each.key]
        return len(gone)

    # --- changes

    @rule(key=KEYS, value=VALUES)
    def insert(self, key: str, value: Any) -> None:
        self.revision += 1
        assert self.store.call("insert", key, value) == self.revision
        self.write(key, value)

    @rule(key=KEYS, value=VALUES, off=st.integers(0, 1))
    def insert_if(self, key: str, value: Any, off: int) -> None:
        current = self.entries[key].revision if key in self.entries else 0
        if off:
            with pytest.raises(RevisionMismatch) as mismatch:
                self.store.call("insert", key, value, if_revision=current + off)
            assert mismatch.value.current == current
        else:
            self.revision += 1
            assert self.store.call("insert", key, value, if_revision=current) == self.revision
            self.write(key, value)

    @rule(key=KEYS)
    def remove(self, key: str) -> None:
        existed = self.entries.pop(key, None) is not None
        self.revision += existed
        assert self.store.call("remove", key) == existed

    @rule(key=KEYS, value=VALUES)
    def swap(self, key: str, value: Any) -> None:
        assert self.store.call("swap", key, value) == self.entries.get(key)
        self.revision += 1
        self.write(key, value)

    @rule(key=KEYS)
    def pop(self, key: str) -> None:
        assert self.store.call("pop", key) == self.entries.get(key)
        self.revision += self.entries.pop(key, None) is not None

    @rule(key=KEYS, by=st.integers(-3, 3))
    def increment(self, key: str, by: int) -> None:
        old = self.entries[key].value if key in self.entries else 0
        if type(old) is not int:
            with pytest.raises(NotInteger):
                self.store.call("increment", key, by)
            return
        self.revision += 1
        assert self.store.call("increment", key, by) == old + by
        self.write(key, old + by)

    @rule(values=st.dictionaries(KEYS, VALUES, min_size=1))
    def insert_many(self, values: dict[str, Any]) -> None:
        self.revision += 1
        assert self.store.call("insert_many", values) == self.revision
        for key, value in values.items():
            self.write(key, value)

    @rule(prefix=PREFIXES)
    def remove_prefix(self, prefix: str) -> None:
        count = self.drop(prefix)
        self.revision += count > 0
        assert self.store.call("remove_prefix", prefix) == count

    @rule(key=KEYS, value=VALUES, exists=st.booleans())
    def transact(self, key: str, value: Any, exists: bool) -> None:
        done = self.store.call(
            "transact",
            [Check(key, exists=exists)],
            [Insert("t/1", value), Increment("t/n"), Get(key), RemovePrefix("a/")],
            [Remove("t/1"), Get("t/1")],
        )
        assert done.succeeded == ((key in self.entries) == exists)
        if done.succeeded:
            total = self.entries["t/n"].value + 1 if "t/n" in self.entries else 1
            found = self.entries.get(key)
            self.revision += 1
            self.write("t/1", value)
            self.write("t/n", total)
            count = self.drop("a/")
            assert done.results == (self.revision, total, found, count)
        else:
            existed = self.entries.pop("t/1", None) is not None
            self.revision += existed
            assert done.results == (existed, None)
        assert done.revision == self.revision

    @rule(wanted=st.integers(0, 9))
    def kill(self, wanted: int) -> None:
        if wanted == 0:
            self.store.kill_a_node()
            self.revision += 1
            entry = self.store.call("get_entry", "killed")
            self.write("killed", entry.value)

    # --- reads

    @rule(keys=st.lists(KEYS), read=st.sampled_from(["linearizable", "leader-lease", "stale"]))
    def get_many(self, keys: list[str], read: str) -> None:
        found = {key: self.entries[key].value for key in keys if key in self.entries}
        assert self.store.call("get_many", keys, read=read) == found

    @rule(prefix=PREFIXES, reverse=st.booleans(), limit=st.none() | st.integers(0, 3))
    def scan(self, prefix: str, reverse: bool, limit: int | None) -> None:
        expected = self.under(prefix)[:: -1 if reverse else 1][:limit]
        assert self.store.scan(prefix, reverse=reverse, limit=limit) == expected
        keys = self.store.call("list_keys", prefix, reverse=reverse, limit=limit)
        assert keys == [each.key for each in expected]

    @rule(prefix=PREFIXES)
    def count(self, prefix: str) -> None:
        assert self.store.call("count", prefix) == len(self.under(prefix))

    @invariant()
    def revisions_never_go_back(self) -> None:
        assert self.revision >= self.before
        self.before = self.revision


def test_random_operations_agree_with_a_dict(cluster: Cluster) -> None:
    Machine.store = Store(cluster)
    try:
        run_state_machine_as_test(
            Machine,
            settings=settings(
                max_examples=12,
                stateful_step_count=30,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
    finally:
        Machine.store.close()
