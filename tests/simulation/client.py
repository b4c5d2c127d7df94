"""Client: simulated client threads, which share a session and record each operation."""

from collections.abc import Callable
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any

from protocol.client.calls import Calls, Ending
from protocol.client.census import Census
from protocol.client.link import Link
from protocol.client.routing import TCP_SCHEME, Route, address_of
from protocol.client.steps import ReturnT, Steps
from protocol.messages.client import (
    Failed,
    FailureCode,
    Get,
    ReadOperation,
    Reply,
    Request,
)
from protocol.state.commands import (
    Command,
    Found,
    Insert,
    Inserted,
    Missing,
    Remove,
    Removed,
    RevisionMismatch,
    SessionExpired,
    Transact,
)
from tests.harness.breach import expect
from tests.simulation.call_judge import judge_order
from tests.simulation.consumers import Consumer
from tests.simulation.contenders import Contender
from tests.simulation.drafts import draft
from tests.simulation.driver import Driver
from tests.simulation.history import History, Kind, Operation
from tests.simulation.lease_holders import Holder
from tests.simulation.lone_requests import LoneRequests
from tests.simulation.options import PIPELINE_MAX
from tests.simulation.parts import parts_of
from tests.simulation.shared_requests import SharedRequests

if TYPE_CHECKING:
    from tests.simulation.cluster import Cluster

SHORTEST_DEADLINE, LONGEST_DEADLINE = 0.3, 3.0
REMOVALS = 0.2  # share of writes
CANCEL_SECONDS_MAX = 0.5  # after which a call is cancelled, if it is


class Client:
    """The state that the threads of one client share."""

    def __init__(
        self, cluster: "Cluster", name: str, history: History, addresses: list[str]
    ) -> None:
        self.cluster = cluster
        self.name = name
        self.history = history
        endpoints = [f"{TCP_SCHEME}{address}" for address in addresses]
        cluster.setting.chance.shuffle(endpoints)
        setting = cluster.setting
        self.route = Route(endpoints, follow_leader=setting.chance.random() < 0.7)
        self.calls = Calls(self.route, lambda: setting.events.now, setting.options.attempt_delay)
        self.census = Census(addresses)
        self.is_shared = Random(f"{name} {setting.options.seed}").random() < setting.options.shared
        self.link = Link(self.route) if self.is_shared else None  # of all threads
        self.requests = SharedRequests(cluster, name) if self.is_shared else LoneRequests(cluster)
        self.revisions: dict[str, int] = {}  # by key, as last seen
        self.newest = 0  # revision that it has seen
        self.threads: list[Thread] = []
        self.holder = Holder(setting, name)
        self.contender = Contender(setting, name)
        self.consumer = Consumer(setting, name)

    def see(self, outcome: object) -> None:
        """Note the revision that an outcome shows, if it shows one."""
        shown = "current" if isinstance(outcome, RevisionMismatch) else "revision"
        self.newest = max(self.newest, getattr(outcome, shown, 0))

    def link_to(self, address: str) -> Link:
        """Return a link to the node at an address, which stays with it until it fails."""
        link = Link(self.route, stays=True)
        link.endpoint = f"{TCP_SCHEME}{address}"
        return link

    def new_helper(self, name: str) -> "Thread":
        """Return a thread that begins nothing by itself."""
        helper = Thread(self, name)
        helper.stopped = True
        return helper

    def new_thread(self, name: str) -> "Thread":
        """Return a new thread of this client."""
        self.threads.append(Thread(self, name))
        return self.threads[-1]


class Thread:
    """Does one operation after another until it is stopped."""

    def __init__(self, client: Client, name: str) -> None:
        self.client = client
        self.name = name
        self.setting = client.cluster.setting
        self.stopped = False
        self.idle = True
        self.heard_from = ""  # endpoint of the last reply
        self._link = client.link or Link(client.route)
        self._random = self.setting.chance.random
        self._values = 0
        options = self.setting.options
        self._reads = 1.0 if self._random() < options.readers else options.reads
        holds = Random(f"{name} holds {options.seed}").random() < options.holders
        self._leased = 1.0 if holds else options.leased

    # --- doing operations

    def go_on(self) -> None:
        """Start the next operation after a delay."""
        self.idle = True
        if not self.stopped:
            delay = self.setting.options.think_delay * 2 * self._random()
            self.setting.events.after(delay, self._next)

    def read(self, key: str, timeout: float, done: Callable[[bool], None]) -> None:
        """Read a key, independently of the other operations; report whether there was a reply."""
        operation = Operation(self.name, Kind.GET, key, 0)
        self._begin(operation)

        def ended(ending: Ending) -> None:
            self._note(operation, ending)
            done(_is_certain(ending))

        self._drive_read(Get(key), self.setting.events.now + timeout, ended)

    def _next(self) -> None:
        if self.stopped:
            return
        self.idle = False
        spread = LONGEST_DEADLINE - SHORTEST_DEADLINE
        deadline = self.setting.events.now + SHORTEST_DEADLINE + spread * self._random() ** 2
        for share, begin in self._special_turns(deadline):
            if share and self._random() < share:
                begin()
                return
        operation = self._choose()
        self._begin(operation)
        self._do(operation, deadline)

    def _special_turns(self, deadline: float) -> tuple[tuple[float, Callable[[], None]], ...]:
        """Return the turns that are no single operation, and the share of each."""
        client, cluster, options = self.client, self.client.cluster, self.setting.options
        return (
            (options.pipelined, partial(self._pipeline, deadline)),
            (options.transactions, partial(self._transact, deadline)),
            (self._leased, partial(client.holder.begin, self, deadline)),
            (options.contending, partial(client.contender.begin, self)),
            (options.queueing, partial(client.consumer.begin, self)),
            (options.loose, lambda: cluster.loose_reads.begin(self, self._random_key(), deadline)),
            (options.many, partial(cluster.many_reads.begin, self, deadline)),
        )

    def _choose(self) -> Operation:
        options = self.setting.options
        key = self._random_key()
        if self._random() < self._reads:
            return Operation(self.name, Kind.GET, key, 0)
        kind = Kind.REMOVE if self._random() < REMOVALS else Kind.INSERT
        operation = Operation(self.name, kind, key, 0)
        if self._random() < options.conditional:
            operation.if_revision = self.client.revisions.get(key, 0)
        if kind is Kind.INSERT:
            operation.value = self._new_value()
        return operation

    def _random_key(self) -> str:
        return f"k/{int(self.setting.options.keys * self._random())}"

    def _new_value(self) -> bytes:
        self._values += 1
        return f"{self.name}:{self._values}".encode()

    def _begin(self, operation: Operation) -> None:
        self.client.history.begin(operation)
        self.setting.events.note(self.name, f"begins {operation.kind.value}", operation)

    def _do(self, operation: Operation, deadline: float) -> None:
        if operation.kind is Kind.GET:
            lease = self._random() < self.setting.options.by_lease
            self.setting.totals.reads_by_lease += lease
            get = Get(operation.key, leader_lease=lease)
            self._drive_read(get, deadline, lambda each: self._end(operation, each))
        else:
            self._write(operation, deadline)

    def drive_loosely(
        self,
        read: ReadOperation,
        deadline: float,
        done: Callable[[Ending], None],
        link: Link | None = None,
    ) -> None:
        """Perform a read that is not part of the history."""
        self._drive(self.client.calls.call(link or self._link, read, deadline), done)

    def write_loosely(
        self, command: Command, deadline: float, done: Callable[[Ending], None]
    ) -> None:
        """Perform a write that is not part of the history."""

        def ended(ending: Ending) -> None:
            outcome = ending.outcome
            if isinstance(outcome, Failed) and outcome.code is FailureCode.UNSUPPORTED:
                self.setting.totals.refused_as_newer += 1
            self._judge(ending)
            done(ending)

        self._drive(self.client.calls.write(self._link, command, deadline), ended)

    def _drive_read(self, get: Get, deadline: float, done: Callable[[Ending], None]) -> None:
        self._drive(self.client.calls.call(self._link, get, deadline), done)

    def _drive(self, steps: Steps[ReturnT], done: Callable[[ReturnT], None]) -> Driver[ReturnT]:
        driver = Driver(self, steps, done)
        driver.begin()
        return driver

    def _perhaps_cancel(self, driver: Driver[Any], operations: list[Operation]) -> None:
        """Cancel some calls of a shared client after a while, unless they have ended."""
        if self.client.is_shared and self._random() < self.setting.options.cancelled:
            after = CANCEL_SECONDS_MAX * self._random() ** 2
            self.setting.events.after(after, self._cancel, driver, operations)

    def _cancel(self, driver: Driver[Any], operations: list[Operation]) -> None:
        if driver.is_over:
            return
        driver.cancel()
        self.setting.totals.cancelled += 1
        for operation in operations:
            if operation.is_write:
                self.setting.totals.unknown_outcomes += 1
            else:
                self.client.history.forget(operation)
            self.setting.events.note(self.name, "cancels", operation)
        self.go_on()

    def _pipeline(self, deadline: float) -> None:
        """Do several operations in one call."""
        self.setting.totals.pipelines += 1
        operations = [self._choose() for _ in range(1 + int(PIPELINE_MAX * self._random()))]
        for operation in operations:
            self._begin(operation)

        def ended(endings: list[Ending]) -> None:
            judge_order(endings)
            for operation, ending in zip(operations, endings, strict=True):
                self._judge(ending)
                self._learn(operation, ending)
            self.go_on()

        asked = [_asked(operation) for operation in operations]
        driver = self._drive(self.client.calls.pipeline(self._link, asked, deadline), ended)
        self._perhaps_cancel(driver, operations)

    def _transact(self, deadline: float) -> None:
        self.setting.totals.transactions += 1
        options, chance = self.setting.options, self.setting.chance
        command = draft(chance, options.keys, self.client.revisions, self._new_value)
        operation = Operation(self.name, Kind.TRANSACT, "", 0, command=command)
        self._begin(operation)
        self._write(operation, deadline)

    def _write(self, operation: Operation, deadline: float) -> None:
        command = _command(operation)

        def ended(ending: Ending) -> None:
            self._judge(ending)
            self._end(operation, ending)

        driver = self._drive(self.client.calls.write(self._link, command, deadline), ended)
        self._perhaps_cancel(driver, [operation])

    def _judge(self, ending: Ending) -> None:
        """Give the judge the outcome that the client reports of its write."""
        write = ending.write
        if write is None:
            return
        if _is_certain(ending):
            self.setting.judge.answered(write.session, write.sequence, ending.outcome)
        elif not _may_be_done(ending):
            self.setting.judge.never_applied(write.session, write.sequence)

    def _end(self, operation: Operation, ending: Ending) -> None:
        self._learn(operation, ending)
        self.go_on()

    def _learn(self, operation: Operation, ending: Ending) -> None:
        """Note the end of an operation, and the revision of its key."""
        self._note(operation, ending)
        for part in parts_of(operation) if operation.command is not None else ():
            self._learn_revision(part.key, part.outcome)
        self._learn_revision(operation.key, ending.outcome)

    def _learn_revision(self, key: str, outcome: object) -> None:
        match outcome:
            case Inserted(revision=revision) | RevisionMismatch(current=revision):
                self.client.revisions[key] = revision
            case Found(mod_revision=revision):
                self.client.revisions[key] = revision
            case Missing() | Removed():
                self.client.revisions[key] = 0

    def _note(self, operation: Operation, ending: Ending) -> None:
        history, totals, outcome = self.client.history, self.setting.totals, ending.outcome
        if isinstance(outcome, Failed) and outcome.code is FailureCode.STORAGE_FULL:
            totals.storage_full += 1
        if isinstance(outcome, Failed) and outcome.code is FailureCode.UNSUPPORTED:
            totals.refused_as_newer += 1
            expect(operation.kind is Kind.TRANSACT, "a command that all know is refused as newer")
        if _is_certain(ending):
            self.client.see(outcome)
            history.end(operation, outcome)
            totals.writes += operation.is_write
            totals.reads += not operation.is_write
        elif operation.is_write and _may_be_done(ending):
            totals.unknown_outcomes += 1
        else:
            history.forget(operation)
        self.setting.events.note(self.name, "ends", operation)

    # --- requests

    def ask(
        self,
        endpoint: str,
        request: Request,
        answered: Callable[[Reply], None],
        lost: Callable[[], None],
    ) -> bool:
        """Send a request; return whether there was a connection."""
        asker = (self.name, answered, lost)
        return self.client.cluster.ask(address_of(endpoint), asker, request)


def _is_certain(ending: Ending) -> bool:
    """Return whether the client knows the outcome of its operation."""
    uncertain = (Failed, SessionExpired)
    return ending.outcome is not None and not isinstance(ending.outcome, uncertain)


def _may_be_done(ending: Ending) -> bool:
    """Return whether a write without a certain outcome may have been applied, or may yet be."""
    outcome = ending.outcome
    is_unknown = isinstance(outcome, Failed) and outcome.code is FailureCode.UNKNOWN
    return ending.maybe_done or is_unknown


def _asked(operation: Operation) -> Insert | Remove | Get:
    return Get(operation.key) if operation.kind is Kind.GET else _plain_command(operation)


def _command(operation: Operation) -> Insert | Remove | Transact:
    return operation.command or _plain_command(operation)


def _plain_command(operation: Operation) -> Insert | Remove:
    if operation.kind is Kind.INSERT:
        return Insert(operation.key, operation.value, operation.if_revision)
    return Remove(operation.key, operation.if_revision)
