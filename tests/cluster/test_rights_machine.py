"""Rights machine: random changes of rights, and operations of users, compared with a plain model.

Each user has a blocking and an asyncio client of different nodes, so that most operations pass a
follower. Watches and scans that are open end with the right that they need.
"""

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from protocol.security import z85
from protocol.state.user_commands import Right
from protocol.storage.scans import PAGE_BYTES_MAX
from skiff import AsyncClient, Check, Client, Get, Insert, PermissionDenied
from skiff.key_files import make_user_keys, read_public_key, read_server_keys
from skiff.testing import Cluster, wait_until
from tests.cluster.in_a_loop import InALoop, Loop
from tests.harness.rights import Grants, covers

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

EXAMPLES = int(os.environ.get("SKIFF_TEST_EXAMPLES", "8"))
STEPS = 40
SECONDS = 20.0
NAMES = ("ann", "bob")
LONG = [f"long/{number}" for number in range(3)]  # keys with values of half a page each
OPEN_MAX = 3  # watches, and scans

USERS, ROLES, ENDS = st.sampled_from(NAMES), st.sampled_from(["clerk", "guard"]), st.integers(0, 1)
KEYS = st.sampled_from(["a", "a/1", "a/2", "ab", "b/1"])
PREFIXES = st.sampled_from(["", "a", "a/", "b/", "long/"])
ALL_RIGHTS = (Right.READ, Right.WRITE, Right.WATCH)
RIGHTS = st.sampled_from(ALL_RIGHTS)
VALUES = st.integers(0, 9)

Need = tuple[Right, str]


class Store:
    """A cluster, its administrator, and two clients of each user."""

    def __init__(self, cluster: Cluster) -> None:
        assert cluster.key is not None
        self.administrator = cluster.client(timeout=SECONDS)
        for key in LONG:
            self.administrator.insert(key, b"x" * (PAGE_BYTES_MAX // 2))
        self._loop = Loop()
        self._keys: dict[str, str] = {}
        self.clients: dict[str, tuple[Any, Any]] = {}
        servers = read_server_keys(cluster.key.parent / "cluster.key")
        for name, node, other in zip(NAMES, cluster.addresses, cluster.addresses[1:], strict=False):
            make_user_keys(name, cluster.directory, servers)
            self._keys[name] = z85.encode(read_public_key(cluster.directory / f"{name}.key"))
            secret = cluster.directory / f"{name}.key_secret"
            chosen: dict[str, Any] = {"timeout": SECONDS, "follow_leader": False, "key": secret}
            asynchronous = AsyncClient([other], **chosen)
            self.clients[name] = (Client([node], **chosen), InALoop(asynchronous, self._loop))

    def add_user(self, name: str) -> None:
        """Add a user, and wait until its nodes know it: until then they refuse its key."""
        self.administrator.add_user(name, self._keys[name])
        for client in self.clients[name]:
            wait_until(lambda client=client: _is_known(client), f"{name} is known")  # type: ignore[misc]

    def close(self) -> None:
        for blocking, asynchronous in self.clients.values():
            blocking.close()
            asynchronous.aclose()
        self._loop.close()
        self.administrator.close()


def _is_known(client: Any) -> bool:
    try:
        client.whoami()
    except PermissionDenied:
        return False
    return True


class Open:
    """A watch or a scan of a user, and what it has to yield yet."""

    def __init__(self, user: str, need: Need, source: Any, expected: list[Any]) -> None:
        self.user = user
        self.need = need
        self.source = source
        self.expected = expected

    def take(self) -> Any:
        """Return what it yields next."""
        if self.need[0] is Right.READ:
            return next(self.source).key
        event = self.source.next_event(SECONDS)
        return event.key, event.value

    def close(self) -> None:
        if self.need[0] is Right.WATCH:
            self.source.__exit__(None, None, None)


class Machine(RuleBasedStateMachine):
    """Users, roles and entries, and the store that must agree with them."""

    store: Store  # set by the test

    def __init__(self) -> None:
        super().__init__()
        self.administrator = self.store.administrator
        for prefix in ("a", "b"):
            self.administrator.remove_prefix(prefix)
        for role in self.administrator.roles():
            self.administrator.remove_role(role.name)
        self.users: dict[str, set[str]] = {user.name: set() for user in self.administrator.users()}
        self.grants: dict[str, Grants] = {}  # by role
        self.entries: dict[str, int] = {}
        self.open: list[Open] = []
        for name in NAMES:
            if name not in self.users:
                self.add_user(name)

    @initialize(prefixes=st.tuples(PREFIXES, PREFIXES, PREFIXES))
    def begin(self, prefixes: tuple[str, str, str]) -> None:
        """Begin with each right somewhere, so that not everything is denied."""
        for user in NAMES:
            for right, prefix in zip(ALL_RIGHTS, prefixes, strict=True):
                self.grant("clerk", right, prefix, user)

    def teardown(self) -> None:
        for each in self.open:
            each.close()

    # --- the model

    def lacking(self, user: str, needs: list[Need]) -> tuple[str | None, str] | None:
        """Return the right and the place of a denial, or None."""
        if user not in self.users:
            return None, ""
        held: Grants = set().union(*(self.grants[role] for role in self.users[user]))
        lacking = [(right, place) for right, place in needs if not covers(held, right, place)]
        return (lacking[0][0].name.lower(), lacking[0][1]) if lacking else None

    def ask(self, user: str, end: int, needs: list[Need], use: Callable[[Any], Any]) -> list[Any]:
        """Let a user do something; return the result in a list, empty if it is denied."""
        client, lacking = self.store.clients[user][end], self.lacking(user, needs)
        if lacking is None:
            return [use(client)]
        assert denial_of(lambda: use(client)) == lacking
        return []

    def note(self, key: str, value: int | None) -> None:
        """Change an entry, which watches will tell."""
        if value is None:
            self.entries.pop(key)
        else:
            self.entries[key] = value
        for each in self.open:
            if each.need[0] is Right.WATCH and key.startswith(each.need[1]):
                each.expected.append((key, value))

    def under(self, prefix: str) -> list[str]:
        return sorted(key for key in [*self.entries, *LONG] if key.startswith(prefix))

    def end_denied(self) -> None:
        """Check that watches and scans end whose users have lost the right."""
        for each in list(self.open):
            lacking = self.lacking(each.user, [each.need])
            if lacking is not None:
                assert denial_of(lambda each=each: yield_all(each)) == lacking  # type: ignore[misc]
                self.open.remove(each)
                each.close()

    # --- changes of rights

    @precondition(lambda self: len(self.users) < len(NAMES))
    @rule(data=st.data())
    def add_user_again(self, data: st.DataObject) -> None:
        self.add_user(data.draw(st.sampled_from(sorted(set(NAMES) - self.users.keys()))))

    def add_user(self, name: str) -> None:
        self.store.add_user(name)
        self.users[name] = set()

    @rule(role=ROLES, right=RIGHTS, prefix=PREFIXES, user=USERS)
    def grant(self, role: str, right: Right, prefix: str, user: str) -> None:
        self.administrator.grant(role, _name(right), prefix)
        self.grants.setdefault(role, set()).add((right, prefix))
        if user not in self.users:
            self.add_user(user)
        if role not in self.users[user]:
            self.administrator.assign_role(user, role)
            self.users[user].add(role)

    @precondition(lambda self: self.grants)
    @rule(data=st.data())
    def take_away(self, data: st.DataObject) -> None:
        """Revoke a right, remove a role or a user, or take a role from a user."""
        ways: list[Callable[[], None]] = [
            *(
                partial(self.revoke, role, *each)
                for role in self.grants
                for each in self.rights(role)
            ),
            *(partial(self.unassign_role, user, role) for user, role in self.assigned()),
            *(partial(self.remove_role, role) for role in sorted(self.grants)),
            *(partial(self.remove_user, user) for user in sorted(self.users)),
        ]
        data.draw(st.sampled_from(ways))()
        self.end_denied()

    def rights(self, role: str) -> list[tuple[Right, str]]:
        return sorted(self.grants[role], key=repr)

    def assigned(self) -> list[tuple[str, str]]:
        return sorted((user, role) for user, roles in self.users.items() for role in roles)

    def revoke(self, role: str, right: Right, prefix: str) -> None:
        self.administrator.revoke(role, _name(right), prefix)
        self.grants[role].remove((right, prefix))
        if not self.grants[role]:
            self.forget(role)

    def unassign_role(self, user: str, role: str) -> None:
        self.administrator.unassign_role(user, role)
        self.users[user].remove(role)

    def remove_role(self, role: str) -> None:
        self.administrator.remove_role(role)
        self.forget(role)

    def forget(self, role: str) -> None:
        del self.grants[role]
        for roles in self.users.values():
            roles.discard(role)

    def remove_user(self, user: str) -> None:
        self.administrator.remove_user(user)
        del self.users[user]

    # --- what users do

    @rule(user=USERS, end=ENDS, key=KEYS, value=VALUES)
    def insert(self, user: str, end: int, key: str, value: int) -> None:
        if self.ask(user, end, [(Right.WRITE, key)], lambda client: client.insert(key, value)):
            self.note(key, value)

    @rule(user=USERS, end=ENDS, key=KEYS)
    def remove(self, user: str, end: int, key: str) -> None:
        existed = self.ask(user, end, [(Right.WRITE, key)], lambda client: client.remove(key))
        if existed:
            assert existed == [key in self.entries]
        if existed == [True]:
            self.note(key, None)

    @rule(user=USERS, end=ENDS, key=KEYS)
    def increment(self, user: str, end: int, key: str) -> None:
        needs = [(Right.WRITE, key), (Right.READ, key)]
        total = self.ask(user, end, needs, lambda client: client.increment(key))
        if total:
            assert total == [self.entries.get(key, 0) + 1]
            self.note(key, total[0])

    @rule(user=USERS, end=ENDS, key=KEYS, other=KEYS, value=VALUES)
    def transact(self, user: str, end: int, key: str, other: str, value: int) -> None:
        needs = [(Right.READ, key), (Right.WRITE, other), (Right.READ, other)]
        parts = [Check(key, exists=True)], [Insert(other, value)], [Get(other)]
        done = self.ask(user, end, needs, lambda client: client.transact(*parts).succeeded)
        if done:
            assert done == [key in self.entries]
        if done == [True]:
            self.note(other, value)

    @rule(user=USERS, end=ENDS, keys=st.lists(KEYS, min_size=1, max_size=3))
    def get(self, user: str, end: int, keys: list[str]) -> None:
        needs = [(Right.READ, key) for key in keys]
        found = self.ask(user, end, needs, lambda client: client.get_many(keys, int))
        if found:
            assert found == [{key: self.entries[key] for key in keys if key in self.entries}]

    @rule(user=USERS, end=ENDS, prefix=PREFIXES)
    def list_keys(self, user: str, end: int, prefix: str) -> None:
        needs = [(Right.READ, prefix)]
        found = self.ask(user, end, needs, lambda client: client.list_keys(prefix))
        if found:
            assert found == [self.under(prefix)]

    @precondition(lambda self: len(self.open) < OPEN_MAX)
    @rule(user=USERS, end=ENDS, prefix=PREFIXES)
    def watch(self, user: str, end: int, prefix: str) -> None:
        need = (Right.WATCH, prefix)
        for changes in self.ask(user, end, [need], lambda client: client.watch(prefix)):
            self.open.append(Open(user, need, changes, []))

    @precondition(lambda self: len(self.open) < OPEN_MAX)
    @rule(user=USERS, end=ENDS)
    def begin_scan(self, user: str, end: int) -> None:
        need = (Right.READ, "long/")
        for entries in self.ask(user, end, [need], lambda client: _begun(client.scan("long/"))):
            self.open.append(Open(user, need, entries, LONG[1:]))

    @precondition(lambda self: self.open)
    @rule()
    def take_what_is_open(self) -> None:
        for each in self.open:
            for expected in each.expected:
                assert each.take() == expected
            each.expected = []
        self.open = [each for each in self.open if each.need[0] is Right.WATCH]


def denial_of(use: Callable[[], object]) -> tuple[str | None, str]:
    """Return the right and the place for which something is denied."""
    with pytest.raises(PermissionDenied) as denied:
        use()
    return denied.value.right, denied.value.prefix


def yield_all(opened: Open) -> None:
    """Take what a watch or a scan has to yield; nothing from after its denial is among it."""
    for expected in opened.expected:
        assert opened.take() == expected
    opened.take()


def _begun(entries: Any) -> Any:
    iterator = iter(entries)
    assert next(iterator).key == LONG[0]
    return iterator


def _name(right: Right) -> Any:
    return right.name.lower()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    directory: Path = tmp_path_factory.mktemp("rights-machine")
    with Cluster(3, directory=directory, keys=True) as running:
        yield running


def test_random_users_may_do_what_a_plain_model_says(cluster: Cluster) -> None:
    Machine.store = Store(cluster)
    try:
        run_state_machine_as_test(
            Machine,
            settings=settings(
                max_examples=EXAMPLES,
                stateful_step_count=STEPS,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
    finally:
        Machine.store.close()
