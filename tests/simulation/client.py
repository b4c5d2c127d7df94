"""A client: threads that share a session, do one operation after another and write down each."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from protocol.client_messages import Found, Get, Missing, Reply, Request, Welcome
from protocol.commands import (
    Insert,
    Inserted,
    OpenSession,
    Remove,
    Removed,
    RevisionMismatch,
    SessionExpired,
    SessionOpened,
    Write,
)
from skiff.route import Route
from skiff.session import Session
from tests.simulation.exchange import Exchange, Outcome
from tests.simulation.history import History, Kind, Operation

if TYPE_CHECKING:
    from tests.simulation.cluster import Cluster

SHORTEST_DEADLINE, LONGEST_DEADLINE = 0.3, 3.0
REMOVALS = 0.2  # share of writes
NEVER = float("inf")


class Client:
    """What the threads of one client share."""

    def __init__(
        self, cluster: "Cluster", name: str, history: History, addresses: list[str]
    ) -> None:
        self.cluster = cluster
        self.name = name
        self.history = history
        endpoints = [f"tcp://{address}" for address in addresses]
        cluster.setting.chance.shuffle(endpoints)
        self.route = Route(endpoints, follow_leader=cluster.setting.chance.random() < 0.7)
        self.session: Session | None = None
        self.revisions: dict[str, int] = {}  # of each key, as last seen
        self.threads: list[Thread] = []

    def new_thread(self, name: str) -> "Thread":
        """Return one more thread of this client."""
        self.threads.append(Thread(self, name))
        return self.threads[-1]


class Thread:
    """Does one operation after another, until it is told to stop."""

    def __init__(self, client: Client, name: str) -> None:
        self.client = client
        self.name = name
        self.setting = client.cluster.setting
        self.welcomed_at = -NEVER
        self.stopped = False
        self.idle = True
        self._connected = ""
        self._random = self.setting.chance.random
        self._values = 0
        options = self.setting.options
        self._reads = 1.0 if self._random() < options.readers else options.reads

    # --- doing operations

    def go_on(self) -> None:
        """Begin the next operation after a moment."""
        self.idle = True
        if not self.stopped:
            delay = self.setting.options.think_delay * 2 * self._random()
            self.setting.events.after(delay, self._next)

    def read(self, key: str, timeout: float, done: Callable[[bool], None]) -> None:
        """Read a key, besides all else; tell whether there was an answer."""
        operation = Operation(self.name, Kind.GET, key, 0)
        self._begin(operation)

        def ended(outcome: Outcome) -> None:
            self._note(operation, outcome)
            done(outcome.outcome is not None)

        deadline = self.setting.events.now + timeout
        Exchange(self, Get(key), deadline, ended).attempt()

    def _next(self) -> None:
        if self.stopped:
            return
        self.idle = False
        spread = LONGEST_DEADLINE - SHORTEST_DEADLINE
        deadline = self.setting.events.now + SHORTEST_DEADLINE + spread * self._random() ** 2
        operation = self._choose()
        if operation.is_write and self.client.session is None:
            self._open_session(operation, deadline)
        else:
            self._begin(operation)
            self._do(operation, deadline)

    def _choose(self) -> Operation:
        options = self.setting.options
        key = f"k/{int(options.keys * self._random())}"
        if self._random() < self._reads:
            return Operation(self.name, Kind.GET, key, 0)
        kind = Kind.REMOVE if self._random() < REMOVALS else Kind.INSERT
        operation = Operation(self.name, kind, key, 0)
        if self._random() < options.conditional:
            operation.if_revision = self.client.revisions.get(key, 0)
        if kind is Kind.INSERT:
            self._values += 1
            operation.value = f"{self.name}:{self._values}".encode()
        return operation

    def _begin(self, operation: Operation) -> None:
        self.client.history.begin(operation)
        self.setting.events.note(self.name, f"begins {operation.kind.value}", operation)

    def _do(self, operation: Operation, deadline: float) -> None:
        if operation.kind is Kind.GET:
            lease = self._random() < self.setting.options.by_lease
            self.setting.totals.reads_by_lease += lease
            get = Get(operation.key, lease=lease)
            Exchange(self, get, deadline, lambda each: self._end_read(operation, each)).attempt()
        else:
            self._write(operation, deadline)

    def _open_session(self, operation: Operation, deadline: float) -> None:
        def opened(outcome: Outcome) -> None:
            if not isinstance(outcome.outcome, SessionOpened):
                self.go_on()
                return
            if self.client.session is None:
                self.client.session = Session(outcome.outcome.session)
            self._begin(operation)
            self._do(operation, deadline)

        Exchange(self, Write(0, 0, 0, OpenSession()), deadline, opened).attempt()

    def _write(self, operation: Operation, deadline: float) -> None:
        session = self.client.session
        assert session is not None
        sequence, acknowledged = session.begin_write()
        command: Insert | Remove = Remove(operation.key, operation.if_revision)
        if operation.kind is Kind.INSERT:
            command = Insert(operation.key, operation.value, operation.if_revision)

        def ended(outcome: Outcome) -> None:
            session.end_write(sequence)
            if outcome.outcome is None and not outcome.maybe_done:
                self.setting.judge.never_applied(session.number, sequence)
            elif outcome.outcome is not None:
                self.setting.judge.answered(session.number, sequence, outcome.outcome)
            self._end_write(operation, outcome)

        write = Write(session.number, sequence, acknowledged, command)
        Exchange(self, write, deadline, ended).attempt()

    def _end_write(self, operation: Operation, outcome: Outcome) -> None:
        if isinstance(outcome.outcome, SessionExpired):
            self.client.session = None
            outcome = Outcome(None, maybe_done=True)
        self._note(operation, outcome)
        match outcome.outcome:
            case Inserted(revision=revision) | RevisionMismatch(current=revision):
                self.client.revisions[operation.key] = revision
            case Removed():
                self.client.revisions[operation.key] = 0
        self.go_on()

    def _end_read(self, operation: Operation, outcome: Outcome) -> None:
        self._note(operation, outcome)
        match outcome.outcome:
            case Found(mod_revision=revision):
                self.client.revisions[operation.key] = revision
            case Missing():
                self.client.revisions[operation.key] = 0
        self.go_on()

    def _note(self, operation: Operation, outcome: Outcome) -> None:
        history, totals = self.client.history, self.setting.totals
        if outcome.outcome is not None:
            history.end(operation, outcome.outcome)
            totals.writes += operation.is_write
            totals.reads += not operation.is_write
        elif operation.is_write and outcome.maybe_done:
            totals.unknown_outcomes += 1
        else:
            history.forget(operation)
        self.setting.events.note(self.name, "ends", operation)

    # --- speaking to nodes

    def connect(self, now: float) -> str:
        """Return the endpoint that this thread speaks to now."""
        if not self._connected:
            self._connected = self.client.route.choose(now)
            self.welcomed_at = -NEVER
        return self._connected

    def ask(
        self,
        endpoint: str,
        request: Request,
        answered: Callable[[Reply], None],
        lost: Callable[[], None],
    ) -> bool:
        """Send a request; return whether there was a connection to send it over."""
        asker = (self.name, answered, lost)
        return self.client.cluster.ask(endpoint.removeprefix("tcp://"), asker, request)

    def learn(self, welcome: Welcome, now: float) -> None:
        """Take in who leads; speak to the leader from the next operation on."""
        self.welcomed_at = now
        self.client.route.learn(welcome)
        if self.client.route.should_move(self._connected, now):
            self._connected = ""

    def abandon(self) -> None:
        """Speak to another node from now on."""
        self.client.route.note_failure(self._connected, self.setting.events.now)
        self._connected = ""
