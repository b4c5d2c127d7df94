"""Rights user: threads whose requests are those of a user, and the ones that change its rights."""

from random import Random
from typing import TYPE_CHECKING

from protocol.client.calls import Ending
from protocol.client.link import Link
from protocol.encoding import encode
from protocol.messages.client import (
    ANY_STALENESS,
    Get,
    GetMany,
    KeepAlive,
    ListKeys,
    ListPrefixes,
    Page,
    ReadChanges,
    ReadOperation,
    Scan,
)
from protocol.messages.rights import CheckRight, ListUsers, WhoAmI
from protocol.state.commands import (
    Check,
    Command,
    Fence,
    GrantLease,
    Increment,
    Insert,
    LeaseGranted,
    Lookup,
    Remove,
    RemovePrefix,
    RevokeLease,
    Transact,
    TransactionOperation,
    Write,
)
from protocol.state.user_commands import (
    AddUser,
    AddUserKey,
    AssignRole,
    Denied,
    Grant,
    RemoveRole,
    RemoveUser,
    RemoveUserKey,
    Revoke,
    Right,
    UnassignRole,
    UserCommand,
)
from tests.simulation.client import Client, Thread
from tests.simulation.lone_requests import LoneRequests

if TYPE_CHECKING:
    from tests.simulation.cluster import Cluster

KEYS = ("r/a", "r/a/1", "r/a/2", "r/ab", "r/b/1")
PREFIXES = ("r/", "r/a", "r/a/", "r/ab", "r/b/")
ROLES = ("clerk", "guard")
FREQUENT = ("clerk", Right.WRITE, "r/a")  # granted and revoked again and again
USER_NAMES = ("user-1", "user-2")
TTLS_MS = (200, 5000)
PAGE_PAUSE_SECONDS = 0.2  # between two pages of a scan, at most
WRITES, THEFTS = 0.5, 0.1  # shares of a user's turns
VALUE = encode(1)
LEASES_TRIED = 2
REPLACEMENTS = 0.1  # share of turns in which a user is removed, to be added again
RENEWALS = 0.05  # share of turns in which a role ends, to begin again for others
CHANGES = 0.5  # share of an administrator's turns that change rights


def key_of(name: str, number: int = 0) -> bytes:
    """Return one of the two public keys that a user may have."""
    return f"{name} {number}".encode().ljust(32, b"\0")


class RightsChance:
    """Random places, operations and commands of one thread."""

    def __init__(self, name: str, seed: int) -> None:
        self._chance = Random(f"{name} {seed}")
        self.random, self.choice, self.choices = (
            self._chance.random,
            self._chance.choice,
            self._chance.choices,
        )

    def operation(self) -> TransactionOperation:
        """Return an operation of a transaction."""
        return self.choice(
            (
                Insert(self.choice(KEYS), VALUE),
                Remove(self.choice(KEYS)),
                Increment(self.choice(KEYS)),
                RemovePrefix(self.choice(PREFIXES)),
                Lookup(self.choice(KEYS)),
            )
        )

    def transaction(self) -> Transact:
        """Return a transaction."""
        checks = (Check(self.choice(KEYS), exists=self.random() < 0.5),)
        fences = (Fence(self.choice(KEYS), 1 + int(3 * self.random())),)
        return Transact(
            checks if self.random() < 0.5 else (),
            (self.operation(),),
            (self.operation(),) if self.random() < 0.5 else (),
            fences if self.random() < 0.1 else (),
        )

    def command(self, leases: list[int]) -> Command:
        """Return a command; ``leases`` are those of all users."""
        lease = self.choice(leases) if leases and self.random() < 0.5 else 0
        condition = 0 if self.random() < 0.3 else None
        return self.choice(
            (
                Insert(self.choice(KEYS), VALUE, condition, lease),
                Insert(self.choice(KEYS), VALUE),
                Remove(self.choice(KEYS), condition),
                Increment(self.choice(KEYS)),
                RemovePrefix(self.choice(PREFIXES)),
                self.transaction(),
                self.transaction(),
                GrantLease(self.choice(TTLS_MS)),
                GrantLease(self.choice(TTLS_MS)),
                RevokeLease(lease) if lease else Remove(self.choice(KEYS)),
                RevokeLease(lease) if lease else GrantLease(self.choice(TTLS_MS)),
                self.user_command(),
            )
        )

    def read(self, leases: list[int]) -> ReadOperation:
        """Return a read of one request."""
        stale = ANY_STALENESS if self.random() < 0.3 else 0
        key, prefix = self.choice(KEYS), self.choice(PREFIXES)
        return self.choice(
            (
                Get(key, max_staleness_ms=stale),
                GetMany((key, self.choice(KEYS)), max_staleness_ms=stale),
                ListKeys(prefix, 10, max_staleness_ms=stale),
                ListPrefixes(prefix, 10),
                ReadChanges(prefix, 0, 0),
                CheckRight(self.choice(tuple(Right)), ""),
                CheckRight(Right.WATCH, prefix),
                KeepAlive((self.choice(leases),)) if leases else WhoAmI(),
                ListUsers(),
            )
        )

    def user_command(self) -> UserCommand:
        """Return a command about users and roles."""
        name, role, prefix = self.choice(USER_NAMES), self.choice(ROLES), self.choice(PREFIXES)
        right = self.choice((Right.READ, Right.WRITE, Right.WATCH))
        return self.choices(
            (
                AddUser(name, key_of(name)),
                RemoveUser(name),
                AddUserKey(name, key_of(name, 1)),
                RemoveUserKey(name, key_of(name, 1)),
                AssignRole(name, role),
                UnassignRole(name, role),
                Grant(role, right, prefix),
                Revoke(role, right, prefix),
                RemoveRole(role),
                AssignRole(name, "admin"),
                UnassignRole(name, "admin"),
                Grant(role, Right.USERS),
                Revoke(role, Right.USERS),
                AddUser(f"first-{name}", key_of(f"first-{name}"), only_first=True),
                UnassignRole("root", "admin"),
                RemoveUser("root"),
                Grant(*FREQUENT),
                Revoke(*FREQUENT),
            ),
            (4, 1, 2, 1, 4, 1, 6, 5, 0.5, 0.3, 1, 0.3, 1, 1, 0.5, 0.5, 4, 3),
        )[0]


class UserThread(Thread):
    """Reads, writes and attempts of one user, by one of its keys."""

    def __init__(self, client: Client, name: str, leases: list[int]) -> None:
        super().__init__(client, name)
        self._chance = RightsChance(name, self.setting.options.seed)
        self._leases = leases  # of all users; the last ones may still be there

    def _next(self) -> None:
        if self.stopped:
            return
        self.idle = False
        deadline = self.setting.events.now + 1.0
        drawn = self._chance.random()
        if drawn < THEFTS:
            self._steal(deadline)
        elif drawn < WRITES:
            self._write_something(deadline)
        elif drawn < (1 + WRITES) / 2:
            read = self._chance.read(self._leases[-LEASES_TRIED:])
            self.drive_loosely(read, deadline, self._done)
        else:
            scan = f"{self.name} {drawn}".encode()[:16].ljust(16, b"\0")
            prefix = self._chance.choice(PREFIXES)
            self._scan(Scan(scan, prefix, 1), Link(self.client.route, stays=True), deadline)

    def _done(self, _: Ending) -> None:
        self.go_on()

    def _write_something(self, deadline: float) -> None:
        def ended(ending: Ending) -> None:
            self.setting.totals.writes_denied += isinstance(ending.outcome, Denied)
            if isinstance(ending.outcome, LeaseGranted):
                self._leases.append(ending.outcome.lease)
            self.go_on()

        self.write_loosely(self._chance.command(self._leases[-LEASES_TRIED:]), deadline, ended)

    def _steal(self, deadline: float) -> None:
        """Write in the place of another client's last write, or of one that was denied."""
        model, user = self.setting.judge.log.model, key_of_thread(self)
        others, denied = model.sessions_of_others(user), model.denied_of(user)
        places = denied if denied and self._chance.random() < 0.5 else others
        if not places:
            self.go_on()
            return
        session, sequence = self._chance.choice(places)
        write = Write(session, sequence, sequence, Insert(self._chance.choice(KEYS), VALUE))
        steps = self.client.calls.call(self._link, write, deadline)
        self._drive(steps, self._done)

    def _scan(self, scan: Scan, link: Link, deadline: float) -> None:
        """Read a scan page by page, slowly."""

        def ended(ending: Ending) -> None:
            page = ending.outcome
            if not isinstance(page, Page) or not page.more or self.stopped:
                self.go_on()
                return
            following = Scan(scan.scan, scan.prefix, 1, page.end, revision=page.revision)
            pause = PAGE_PAUSE_SECONDS * self._chance.random()
            self.setting.events.after(pause, self._scan, following, link, deadline + pause)

        self.drive_loosely(scan, deadline, ended, link)


class AdministratorThread(Thread):
    """Changes users and roles, by a client that nothing restricts."""

    def __init__(self, client: Client, name: str) -> None:
        super().__init__(client, name)
        self._chance = RightsChance(name, self.setting.options.seed)
        self._next_ones: list[UserCommand] = [
            AddUser("root", key_of(name), only_first=True),
            AddUser("user-1", key_of("user-1")),
            AddUser("user-2", key_of("user-2")),
            Grant("clerk", Right.READ, "r/a/"),
            Grant(*FREQUENT),
            Grant("clerk", Right.WATCH, "r/"),
            AssignRole("user-1", "clerk"),
        ]

    def _next(self) -> None:
        if self.stopped:
            return
        self.idle = False
        deadline = self.setting.events.now + 1.0
        command = self._choose_command()

        def ended(_: Ending) -> None:
            self.setting.totals.rights_changed += 1
            self.go_on()

        self.write_loosely(command, deadline, ended)

    def _choose_command(self) -> Command:
        """Return a change of the rights, or of a key, of which watchers are told."""
        if not self._next_ones and self._chance.random() < REPLACEMENTS:
            name = self._chance.choice(USER_NAMES)
            again = (RemoveUser(name), AddUser(name, key_of(name)), AssignRole(name, "clerk"))
            self._next_ones.extend(again)
        if not self._next_ones and self._chance.random() < RENEWALS:
            self._next_ones.extend((RemoveRole("clerk"), Grant(*FREQUENT)))
        if self._next_ones:
            return self._next_ones.pop(0)
        if self._chance.random() < CHANGES:
            return self._chance.user_command()
        return Insert(self._chance.choice(KEYS), VALUE)


def key_of_thread(thread: Thread) -> bytes:
    """Return the key by which a node knows the requests of a thread."""
    return thread.setting.user_keys.get(thread.name, b"")


def clients_with_rights(cluster: "Cluster") -> list[Client]:
    """Return the clients of users, and one that changes their rights, if a run has any."""
    setting = cluster.setting
    if not setting.options.users:
        return []
    leases: list[int] = []
    administrator = _lone_client(cluster, "a")
    administrator.threads += [AdministratorThread(administrator, f"a.{each}") for each in range(2)]
    clients = [administrator]
    for number in range(1, setting.options.users + 1):
        client = _lone_client(cluster, f"u{number}")
        name = f"u{number}.0"
        setting.user_keys[name] = key_of(f"user-{(number + 1) // 2}", (number + 1) % 2)
        client.threads.append(UserThread(client, name, leases))
        clients.append(client)
    return clients


def _lone_client(cluster: "Cluster", name: str) -> Client:
    """Return a client each of whose requests has a connection of its own, of its user."""
    client = Client(cluster, name, cluster.history, list(cluster.nodes))
    client.is_shared, client.link, client.requests = False, None, LoneRequests(cluster)
    return client
