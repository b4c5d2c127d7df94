"""Getting one operation done within its deadline: over which node, again after which failure.

Retrying is harmless: a write is recognised by its session and sequence wherever it arrives.
"""

import contextlib
import itertools
import os
import threading
import time
import weakref

import zmq

from protocol.client_messages import (
    CLIENT_PROTOCOL_VERSION,
    Done,
    Failed,
    FailureCode,
    Hello,
    Operation,
    Outcome,
    RemoveNode,
    Request,
    Welcome,
)
from protocol.commands import Command, OpenSession, Result, SessionExpired, SessionOpened, Write
from protocol.wire import REQUEST_BYTES_MAX, Malformed, decode_reply, encode
from skiff.connection import Connection, ConnectionLost
from skiff.errors import (
    ClientConnectFailed,
    InvalidRequest,
    NoNodeReached,
    OutcomeUnknown,
    RequestTimeout,
    RPCCallFailed,
)
from skiff.outcomes import raise_failure
from skiff.route import Route
from skiff.session import Session

ATTEMPT_SECONDS = 1.0  # at least so long a node that is connected may take to answer
ATTEMPTS = 3  # into which a deadline is divided where there is time for that
GRACE_SECONDS = 0.2  # for the node's own reply at the deadline, which knows more than silence
WELCOME_SECONDS = 1.0  # how old the knowledge of who leads may become
PAUSE_SECONDS = 0.02  # before the next attempt, doubled each time
PAUSE_SECONDS_MAX = 0.2
LONGEST_SECONDS = 3600.0  # a node keeps no request for longer; the client asks again


class StrangeCluster(Exception):
    """The node that answered belongs to another cluster: what it says or did counts for nothing."""


class Attempts:
    """What is known of an operation that is tried several times."""

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.reached = False  # whether any node was
        self.maybe_done = False  # whether some attempt got no certain answer
        self.stranger = ""  # what is wrong with a node that was not believed
        self._pause = PAUSE_SECONDS

    def next_deadline(self, now: float) -> float:
        """Return until when the present attempt may take."""
        return min(self.deadline, now + max(ATTEMPT_SECONDS, (self.deadline - now) / ATTEMPTS))

    def pause(self) -> None:
        """Wait a little before the next attempt."""
        time.sleep(max(0.0, min(self._pause, self.deadline - time.monotonic())))
        self._pause = min(2 * self._pause, PAUSE_SECONDS_MAX)


class Caller:
    """Does operations for any number of threads, over one connection for each of them."""

    def __init__(self, endpoints: list[str], *, follow_leader: bool, cluster: bytes = b"") -> None:
        """Speak to nodes of one cluster: this one, or else the first that a node names."""
        self._endpoints = endpoints
        self._follow_leader = follow_leader
        self._ids = itertools.count(1)
        self._closed = False
        self._begin(cluster)

    def _begin(self, cluster: bytes) -> None:
        """Hold nothing yet: neither sockets nor a session outlive a fork."""
        self._pid = os.getpid()
        self._context: zmq.Context[zmq.Socket[bytes]] | None = None
        self._lock = threading.Lock()
        self._local = threading.local()
        self._connections: weakref.WeakSet[Connection] = weakref.WeakSet()
        self._session: Session | None = None
        self.route = Route(self._endpoints, follow_leader=self._follow_leader, cluster=cluster)

    def call(self, operation: Operation, timeout: float | None, *, writes: bool = False) -> Outcome:
        """Return the outcome of an operation.

        Raises:
            SkiffError: what became of it; see ``skiff.errors``.
        """
        attempts = Attempts(_deadline(timeout))
        outcome = self._exchange(operation, attempts, writes=writes)
        if isinstance(outcome, Failed):
            gone = outcome.code == FailureCode.UNKNOWN_NODE and isinstance(operation, RemoveNode)
            if gone and attempts.maybe_done:
                return Done()  # an earlier attempt has removed it
            raise_failure(outcome, maybe_done=writes and attempts.maybe_done)
        return outcome

    def write(self, command: Command, timeout: float | None) -> Result:
        """Return the result of a command that is applied exactly once.

        Raises:
            SkiffError: what became of it; see ``skiff.errors``.
        """
        deadline = _deadline(timeout)
        while True:
            attempts = Attempts(deadline)
            session = self._open_session(deadline)
            result = self._write(session, command, attempts)
            if not isinstance(result, SessionExpired):
                return result
            self._forget(session)
            if attempts.maybe_done:
                raise OutcomeUnknown("the session expired before a retry could be recognised")

    def close(self) -> None:
        """Close all connections; no thread may be using one."""
        self._closed = True
        for connection in list(self._connections):
            connection.close()
        self._local = threading.local()
        if self._context is not None and self._pid == os.getpid():
            self._context.destroy(linger=0)

    def new_context(self) -> "zmq.Context[zmq.Socket[bytes]]":
        """Return the ZeroMQ context of this process."""
        self._check_process()
        with self._lock:
            if self._context is None:
                self._context = zmq.Context()
            return self._context

    def move_on(self) -> None:
        """Speak to another node next, if there is one."""
        connection: Connection | None = getattr(self._local, "connection", None)
        if connection is not None:
            self._abandon(connection)

    # --- sessions

    def _write(self, session: Session, command: Command, attempts: Attempts) -> Result:
        sequence, acknowledged = session.begin_write()
        write = Write(session.number, sequence, acknowledged, command)
        try:
            outcome = self._exchange(write, attempts, writes=True)
        finally:
            session.end_write(sequence)
        if isinstance(outcome, Failed):
            raise_failure(outcome, maybe_done=attempts.maybe_done)
        if not isinstance(outcome, Result):
            raise RPCCallFailed(f"a write was answered with {outcome!r}")
        return outcome

    def _open_session(self, deadline: float) -> Session:
        self._check_process()
        with self._lock:
            session = self._session
        if session is not None:
            return session
        try:
            write = Write(0, 0, 0, OpenSession())
            outcome = self._exchange(write, Attempts(deadline), writes=True)
        except OutcomeUnknown as error:
            raise RequestTimeout(f"no session could be opened: {error}") from error
        if isinstance(outcome, Failed):
            raise_failure(outcome, maybe_done=False)
        if not isinstance(outcome, SessionOpened):
            raise RPCCallFailed(f"opening a session was answered with {outcome!r}")
        with self._lock:
            self._session = self._session or Session(outcome.session)
            return self._session

    def _forget(self, session: Session) -> None:
        with self._lock:
            if self._session is session:
                self._session = None

    # --- attempts

    def _exchange(self, operation: Operation, attempts: Attempts, *, writes: bool) -> Outcome:
        while time.monotonic() < attempts.deadline:
            outcome = self._attempt(operation, attempts)
            if outcome is not None:
                return outcome
        known = ", ".join(self.route.all)
        if writes and attempts.maybe_done:
            raise OutcomeUnknown(f"no certain answer before the deadline; asked {known}")
        if not attempts.reached and attempts.stranger:
            raise ClientConnectFailed(attempts.stranger)
        if not attempts.reached:
            raise NoNodeReached(f"no node could be reached at {known}")
        raise RequestTimeout(f"no answer before the deadline; asked {known}")

    def _attempt(self, operation: Operation, attempts: Attempts) -> Outcome | None:
        """Ask one node; return None where another attempt may give a better answer."""
        now = time.monotonic()
        connection = self._connection(now)
        try:
            outcome = self._ask(connection, operation, now, attempts.next_deadline(now))
        except ConnectionLost as lost:
            attempts.maybe_done |= lost.sent
            attempts.reached |= lost.sent
            self._abandon(connection)
            if not lost.sent:
                attempts.pause()
            return None
        except StrangeCluster as strange:
            attempts.stranger = str(strange)
            self._abandon(connection)
            attempts.pause()
            return None
        attempts.reached = True
        if isinstance(outcome, Failed):
            return self._judge(outcome, connection, attempts)
        return outcome

    def _judge(self, failed: Failed, connection: Connection, attempts: Attempts) -> Failed | None:
        """Return a refusal that is final, or None to try on."""
        match failed.code:
            case FailureCode.NOT_MEMBER | FailureCode.STALLED:
                self._abandon(connection)
                attempts.pause()
            case FailureCode.OVERLOADED:
                attempts.pause()
            case FailureCode.NOT_APPLIED | FailureCode.NO_STANDBY | FailureCode.UNKNOWN:
                pass
            case _:
                return failed
        if attempts.deadline - time.monotonic() > PAUSE_SECONDS:
            attempts.maybe_done |= failed.code == FailureCode.UNKNOWN
            self._abandon_slow(failed, connection)
            return None
        return failed

    def _abandon_slow(self, failed: Failed, connection: Connection) -> None:
        """Ask another node, where this one could not do it in its share of the time."""
        if failed.code in (FailureCode.NOT_APPLIED, FailureCode.UNKNOWN):
            self._abandon(connection)

    def _ask(
        self, connection: Connection, operation: Operation, now: float, deadline: float
    ) -> Outcome:
        greets = now - connection.welcomed_at > WELCOME_SECONDS
        operations = (Hello(), operation) if greets else (operation,)
        connection.open(deadline)  # a node counts from when it hears of the request
        left = max(0.0, deadline - time.monotonic())
        timeout_ms = int(min(left, LONGEST_SECONDS) * 1000)
        request = Request(CLIENT_PROTOCOL_VERSION, next(self._ids), timeout_ms, operations)
        encoded = encode(request)
        if len(encoded) > REQUEST_BYTES_MAX:
            raise InvalidRequest(f"no node takes {len(encoded)} bytes; nothing was written")
        answer = connection.ask(encoded, deadline + GRACE_SECONDS)
        try:
            reply = decode_reply(answer)
        except Malformed as error:
            raise RPCCallFailed(f"{connection.endpoint} gave no valid reply: {error}") from error
        if reply.id != request.id or len(reply.outcomes) != len(operations):
            raise RPCCallFailed(f"{connection.endpoint} answered another request: {reply!r}")
        if isinstance(reply.outcomes[0], Welcome):
            self._learn(connection, reply.outcomes[0], now)
        return reply.outcomes[-1]

    # --- connections

    def _connection(self, now: float) -> Connection:
        """Return this thread's connection, to the node that it should speak to now."""
        if self._closed:
            raise ClientConnectFailed("the client is closed")
        context = self.new_context()
        connection: Connection | None = getattr(self._local, "connection", None)
        if connection is not None and connection.is_lost():
            self._abandon(connection)  # whoever is there by now is to be greeted anew
            connection = None
        if connection is None:
            connection = Connection(context, self.route.choose(now))
            self._local.connection = connection
            self._connections.add(connection)
        return connection

    def _learn(self, connection: Connection, welcome: Welcome, now: float) -> None:
        if not self.route.learn(welcome):
            raise StrangeCluster(
                f"{connection.endpoint} belongs to another cluster, {welcome.cluster.hex()}, "
                f"than the one this client has spoken to, {self.route.cluster.hex()}"
            )
        if welcome.cluster:  # a node of none may come to belong to any
            connection.welcomed_at = now
        if self.route.should_move(connection.endpoint, now):
            self._drop(connection)

    def _abandon(self, connection: Connection) -> None:
        self.route.note_failure(connection.endpoint, time.monotonic())
        self._drop(connection)

    def _drop(self, connection: Connection) -> None:
        connection.close()
        with contextlib.suppress(AttributeError):
            del self._local.connection

    def _check_process(self) -> None:
        if self._pid != os.getpid():
            self._begin(self.route.cluster)


def _deadline(timeout: float | None) -> float:
    return float("inf") if timeout is None else time.monotonic() + timeout
