"""Caller: gets one operation done within its deadline, again and on other nodes after failures.

Retrying is harmless: a write is recognised by its session and sequence wherever it arrives.
"""

import contextlib
import itertools
import os
import threading
import time

from protocol.census import DividedCensus
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
from skiff.attempts import PAUSE_SECONDS, Attempts
from skiff.connection import Connection, ConnectionLost
from skiff.errors import (
    ClientClosed,
    ClientConnectFailed,
    InvalidRequest,
    NoNodeReached,
    OutcomeUnknown,
    RequestTimeout,
    RPCCallFailed,
    SkiffError,
)
from skiff.outcomes import raise_failure
from skiff.roll_call import RollCall
from skiff.route import Route
from skiff.session import Session
from skiff.transport import Transport

GRACE_SECONDS = 0.2  # for the node's own reply at the deadline, which knows more than silence
WELCOME_SECONDS = 1.0  # how old the knowledge of who leads may become
LONGEST_SECONDS = 3600.0  # a node keeps no request for longer; the client asks again


class StrangeCluster(Exception):
    """The node that answered is not known to belong to the client's cluster: disregard it."""


class Caller:
    """Does operations for any number of threads, over one connection for each of them."""

    def __init__(
        self,
        endpoints: list[str],
        *,
        follow_leader: bool,
        cluster: bytes = b"",
        transport: Transport | None = None,
    ) -> None:
        """Speak to nodes of one cluster: this one, or else the one that the addresses name.

        A caller that is given a transport lives as long as that, at most.
        """
        self._endpoints = endpoints
        self._follow_leader = follow_leader
        self._ids = itertools.count(1)
        self.transport = transport or Transport()
        self._begin(cluster)

    def _begin(self, cluster: bytes) -> None:
        """Hold nothing yet: neither connections nor a session outlive a fork."""
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._local = threading.local()
        self._session: Session | None = None
        self.route = Route(self._endpoints, follow_leader=self._follow_leader, cluster=cluster)
        self._roll_call = RollCall(self.transport, self.route.given)

    def call(self, operation: Operation, timeout: float | None, *, writes: bool = False) -> Outcome:
        """Return the outcome of an operation.

        Raises:
            SkiffError: what became of it; see ``skiff.errors``.
        """
        attempts = Attempts(_deadline(timeout), writes=writes)
        outcome = self._exchange(operation, attempts)
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
            attempts = Attempts(deadline, writes=True)
            session = self._open_session(deadline)
            result = self._write(session, command, attempts)
            if not isinstance(result, SessionExpired):
                return result
            self._forget(session)
            if attempts.maybe_done:
                raise OutcomeUnknown("the session expired before a retry could be recognised")

    def close(self) -> None:
        """End all calls, those of other threads too; returns after a second at the latest."""
        self.transport.close()

    @property
    def described(self) -> str:
        """Return in words whom this speaks to, and whether it still does."""
        addresses = ", ".join(each.removeprefix("tcp://") for each in self.route.all)
        return f"{addresses}, closed" if self.transport.closed else addresses

    def disconnect(self) -> None:
        """Close this thread's connection."""
        connection: Connection | None = getattr(self._local, "connection", None)
        if connection is not None:
            self._drop(connection)

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
            outcome = self._exchange(write, attempts)
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
        # A session that nobody uses changes nothing of the caller's.
        attempts = Attempts(deadline, writes=False)
        outcome = self._exchange(Write(0, 0, 0, OpenSession()), attempts)
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

    def _exchange(self, operation: Operation, attempts: Attempts) -> Outcome:
        self._check_process()
        with self.transport:
            while time.monotonic() < attempts.deadline and not self.transport.closed:
                outcome = self._attempt(operation, attempts)
                if outcome is not None:
                    return outcome
        raise self._conclusion(attempts)

    def _conclusion(self, attempts: Attempts) -> SkiffError:
        """Return what is known of an operation that got no certain answer."""
        if self.transport.closed:
            unknown = attempts.writes and attempts.maybe_done
            known = "the write may have been done" if unknown else "this call wrote nothing"
            return ClientClosed(f"the client was closed; {known}")
        known = ", ".join(each.removeprefix("tcp://") for each in self.route.all)
        if attempts.writes and attempts.maybe_done:
            return OutcomeUnknown(f"no certain answer before the deadline; asked {known}")
        if not attempts.reached and attempts.obstacle:
            return ClientConnectFailed(attempts.obstacle)
        if not attempts.reached:
            return NoNodeReached(f"no node could be reached at {known}")
        return RequestTimeout(f"no answer before the deadline; asked {known}")

    def _attempt(self, operation: Operation, attempts: Attempts) -> Outcome | None:
        """Ask one node; return None where another attempt may give a better answer."""
        now = time.monotonic()
        try:
            connection = self._connection(now)
        except ClientConnectFailed as failure:  # the process has too many sockets for the moment
            attempts.obstacle = str(failure)
            self._pause(attempts)
            return None
        try:
            outcome = self._ask(connection, operation, now, attempts)
        except ConnectionLost as lost:
            self._note_loss(connection, attempts, sent=lost.sent)
            return None
        except StrangeCluster as strange:
            attempts.obstacle = str(strange)
            self._abandon(connection)
            self._pause(attempts)
            return None
        except BaseException:
            self._drop(connection)  # which may owe a reply, and takes no request before that
            raise
        attempts.reached = True
        if isinstance(outcome, Failed):
            return self._judge(outcome, connection, attempts)
        return outcome

    def _note_loss(self, connection: Connection, attempts: Attempts, *, sent: bool) -> None:
        attempts.maybe_done |= sent
        attempts.reached |= sent
        self._abandon(connection)
        if not sent:
            self._pause(attempts)

    def _pause(self, attempts: Attempts) -> None:
        """Wait a little before the next attempt."""
        remaining = attempts.deadline - time.monotonic()
        self.transport.pause(max(0.0, min(attempts.next_pause(), remaining)))

    def _judge(self, failed: Failed, connection: Connection, attempts: Attempts) -> Failed | None:
        """Return a refusal that is final, or None to try on."""
        match failed.code:
            case FailureCode.NOT_MEMBER | FailureCode.STALLED:
                self._abandon(connection)
                self._pause(attempts)
            case FailureCode.OVERLOADED:
                self._pause(attempts)
            case FailureCode.STORAGE_FULL if attempts.awaits_space(time.monotonic()):
                self._pause(attempts)
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
        self, connection: Connection, operation: Operation, now: float, attempts: Attempts
    ) -> Outcome | None:
        """Return a node's answer; None where it was only greeted."""
        deadline = attempts.next_deadline(now)
        if now - connection.welcomed_at <= WELCOME_SECONDS:
            return self._request(connection, (operation,), deadline)[0]
        # Nothing is written at a node that may turn out to belong to another cluster: it may know
        # a session of the same number.
        alone = attempts.writes and self.route.has_choice and not connection.is_greeted
        operations = (Hello(),) if alone else (Hello(), operation)
        welcome, *outcomes = self._request(connection, operations, deadline)
        if not isinstance(welcome, Welcome):
            return welcome
        self._learn(connection, welcome, now, deadline)
        if alone and not welcome.cluster:
            raise StrangeCluster(f"{connection.endpoint} belongs to no cluster yet")
        return outcomes[0] if outcomes else None

    def _request(
        self, connection: Connection, operations: tuple[Operation, ...], deadline: float
    ) -> tuple[Outcome, ...]:
        """Return the outcomes of operations, as many as there are operations."""
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
        return reply.outcomes

    # --- connections

    def _connection(self, now: float) -> Connection:
        """Return this thread's connection, to the node that it should speak to now."""
        connection: Connection | None = getattr(self._local, "connection", None)
        if connection is not None and connection.is_lost():
            self._abandon(connection)  # whoever is there by now is to be greeted anew
            connection = None
        if connection is None:
            connection = Connection(self.transport, self.route.choose(now))
            self._local.connection = connection
        return connection

    def _learn(self, connection: Connection, welcome: Welcome, now: float, deadline: float) -> None:
        """Take in what a node says of itself, if it belongs to the client's cluster.

        Raises:
            StrangeCluster: it does not, or that is undecided.
        """
        if welcome.cluster and self.route.needs_census:
            self._take_census(connection, welcome, deadline)
        if not self.route.learn(welcome):
            raise StrangeCluster(
                f"{connection.endpoint} belongs to another cluster, {welcome.cluster.hex()}, "
                f"than the one this client has spoken to, {self.route.cluster.hex()}"
            )
        if welcome.cluster:  # a node of none may come to belong to any
            connection.welcomed_at = now
        if self.route.should_move(connection.endpoint, now):
            self._drop(connection)

    def _take_census(self, connection: Connection, welcome: Welcome, deadline: float) -> None:
        """Decide which cluster the given addresses belong to, once for all calls."""
        try:
            cluster = self._roll_call.take(connection.endpoint, welcome, deadline)
        except DividedCensus as divided:
            raise StrangeCluster(str(divided)) from None
        if not cluster:
            raise StrangeCluster("too few addresses answered to know which cluster is meant")
        self.route.settle(cluster)

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
