"""Caller: performs the calls of a blocking client, over one REQ socket per thread."""

import itertools
import os
import threading
import time
from collections.abc import Sequence

from protocol.client.attempts import PAUSE_SECONDS
from protocol.client.calls import Calls
from protocol.client.link import Link
from protocol.client.multiplexer import NO_REQUEST
from protocol.client.pipeline import Pipelined
from protocol.client.routing import Route
from protocol.client.steps import (
    GRACE_SECONDS,
    Answered,
    Ask,
    AwaitOthers,
    Lost,
    Pause,
    Result,
    ReturnT,
    Step,
    Steps,
    TakeCensus,
    timeout_ms,
)
from protocol.deadlines import NEVER, deadline_of
from protocol.encoding import UNENCODABLE
from protocol.messages.client import (
    CLIENT_PROTOCOL_VERSION,
    Operation,
    Outcome,
    Request,
)
from protocol.state.commands import Command
from protocol.wire import Malformed, decode_reply, encode
from skiff.connection import Connection, ConnectionLost
from skiff.endings import outcome_of, outcomes_of, unencodable
from skiff.errors import (
    ClientConnectFailed,
    RPCCallFailed,
    SkiffError,
)
from skiff.method import Anchor, anchored
from skiff.roll_call import RollCall
from skiff.transport import Transport

IN_A_CALL = (
    "this thread is in another call of this client; a signal handler that interrupts one needs a "
    "client of its own; this call did nothing"
)


class Caller:
    """Performs concurrent calls, one per thread."""

    def __init__(
        self,
        endpoints: list[str],
        *,
        follow_leader: bool,
        cluster: bytes = b"",
        transport: Transport | None = None,
    ) -> None:
        """Prepare calls to the nodes of ``cluster``, or of the one that the addresses name.

        A caller with a given ``transport`` must not be used after that transport is closed.
        """
        self._endpoints = endpoints
        self._follow_leader = follow_leader
        self._ids = itertools.count(1)
        self.transport = transport or Transport()
        self._begin(cluster)

    @property
    def has_key(self) -> bool:
        """Whether nodes know the client as a user."""
        return self.transport.keys is not None

    def _begin(self, cluster: bytes, seen: int = 0) -> None:
        """Reset connections and session, which a forked child must not share with its parent.

        No state is read from before the revision ``seen``.
        """
        self._lock = threading.RLock()  # reentrant for signal handlers
        self._local = threading.local()
        self.route = Route(self._endpoints, follow_leader=self._follow_leader, cluster=cluster)
        calls = Calls(self.route, self._clock)
        calls.high_water.rise_to(seen)
        self._calls = calls
        self._roll_call = RollCall(self.transport, self.route.given)
        self._pid = os.getpid()  # last, as other threads of the child check it

    def call(
        self,
        operation: Operation,
        timeout: float | None,
        *,
        writes: bool = False,
        anchor: Anchor | None = None,
    ) -> Outcome:
        """Return the outcome of an operation; ``anchor`` names the node to ask, or learns it.

        Raises:
            SkiffError: the call failed; its class tells whether a write may have been done.
        """
        self.check_process()
        link = self._link if anchor is None else anchored(anchor, self.route)
        steps = self._calls.call(
            link, operation, deadline_of(timeout, time.monotonic()), writes=writes
        )
        return outcome_of(self._perform_all(steps), self.route, closed=self.transport.closed)

    def write(self, command: Command, timeout: float | None) -> Outcome:
        """Return the outcome of a command that is applied exactly once.

        Raises:
            SkiffError: the call failed; its class tells whether a write may have been done.
        """
        self.check_process()
        steps = self._calls.write(self._link, command, deadline_of(timeout, time.monotonic()))
        return outcome_of(self._perform_all(steps), self.route, closed=self.transport.closed)

    def pipeline(
        self, operations: Sequence[Pipelined], timeout: float | None
    ) -> list[Outcome | SkiffError]:
        """Return the outcome or the error of each operation, in order."""
        self.check_process()
        steps = self._calls.pipeline(self._link, operations, deadline_of(timeout, time.monotonic()))
        return outcomes_of(self._perform_all(steps), self.route, closed=self.transport.closed)

    def note_revision(self, revision: int) -> None:
        """Read no state from before a revision from now on."""
        with self._lock:
            self._calls.high_water.rise_to(revision)

    def close(self) -> None:
        """End the calls of all threads; returns within a second."""
        self.transport.close()

    @property
    def described(self) -> str:
        """The addresses of the cluster, and whether the client is closed, for messages."""
        known = self.route.described
        return f"{known}, closed" if self.transport.closed else known

    def disconnect(self) -> None:
        """Close this thread's connection."""
        self._link.drop()
        self._close_connection()

    def move_on(self, anchor: Anchor | None = None) -> None:
        """Send this thread's next request, or an anchor's, to another node if there is one."""
        link = self._link if anchor is None else anchored(anchor, self.route)
        with self._lock:
            link.abandon(link.endpoint, time.monotonic())
        self._close_connection()

    # --- steps

    def _perform_all(self, steps: Steps[ReturnT]) -> ReturnT:
        """Drive a call to its end; return its result."""
        local = self._local
        if getattr(local, "is_calling", False):
            raise SkiffError(IN_A_CALL)
        with self.transport.use():
            try:
                local.is_calling = True  # here, as an interrupt before ``try`` would leave it set
                self.transport.check_open()
                self._leave_lost_node()
                with self._lock:
                    step = next(steps)
                while True:
                    result = self._perform(step)
                    with self._lock:
                        step = steps.send(result)
            except StopIteration as stop:
                ending: ReturnT = stop.value
                return ending
            except BaseException:
                with self._lock:
                    steps.close()
                self.disconnect()  # a REQ socket that owes a reply cannot send
                raise
            finally:
                local.is_calling = False

    def _perform(self, step: Step) -> Result:
        match step:
            case Ask():
                return self._ask(step)
            case Pause(seconds=seconds):
                self.transport.pause(seconds)
                return None
            case AwaitOthers(seconds=seconds):
                self.transport.pause(min(seconds, PAUSE_SECONDS))
                return None
            case TakeCensus():
                return self._roll_call.take(step)

    def _ask(self, ask: Ask) -> Answered | Lost:
        try:
            connection = self._connect(ask.endpoint)
        except ClientConnectFailed as failure:  # out of sockets, which may pass
            return Lost(sent=False, obstacle=str(failure))
        try:
            return Answered(self._request(connection, ask))
        except ConnectionLost as lost:
            self._close_connection()
            return Lost(sent=lost.sent, trouble=lost.trouble)

    def _request(self, connection: Connection, ask: Ask) -> tuple[Outcome, ...]:
        """Send operations in one request; return one outcome for each."""
        connection.open(ask.deadline)  # first, as the node counts the timeout from receipt
        timeout = timeout_ms(ask.deadline, time.monotonic())
        request = Request(CLIENT_PROTOCOL_VERSION, next(self._ids), timeout, ask.operations)
        try:
            encoded = encode(request)
        except UNENCODABLE as error:
            raise unencodable(error) from error
        answer = connection.ask(encoded, ask.deadline + GRACE_SECONDS)
        try:
            reply = decode_reply(answer)
        except Malformed as error:
            raise RPCCallFailed(f"{connection.endpoint} gave no valid reply: {error}") from error
        if reply.id == NO_REQUEST:
            raise RPCCallFailed(
                f"{connection.endpoint} could not read the request: {reply.outcomes}"
            )
        if reply.id != request.id or len(reply.outcomes) != len(ask.operations):
            raise RPCCallFailed(f"{connection.endpoint} answered another request: {reply!r}")
        return reply.outcomes

    def _clock(self) -> float:
        """Return the time in seconds; infinite, and so past every deadline, once closed."""
        return NEVER if self.transport.closed else time.monotonic()

    # --- connections

    @property
    def _link(self) -> Link:
        """The node that this thread sends its requests to."""
        link: Link | None = getattr(self._local, "link", None)
        if link is None:
            link = self._local.link = Link(self.route)
        return link

    def _connect(self, endpoint: str) -> Connection:
        """Return this thread's connection to a node; a connection to another node is closed."""
        connection: Connection | None = getattr(self._local, "connection", None)
        if connection is None or connection.endpoint != endpoint:
            self._close_connection()
            connection = self._local.connection = Connection(self.transport, endpoint)
        return connection

    def _leave_lost_node(self) -> None:
        """Drop a connection lost since the last call, so that the new node is greeted first."""
        connection: Connection | None = getattr(self._local, "connection", None)
        if connection is not None and connection.is_lost():
            self.move_on()

    def _close_connection(self) -> None:
        connection: Connection | None = getattr(self._local, "connection", None)
        if connection is not None:
            connection.close()
            del self._local.connection

    def check_process(self) -> None:
        """Begin anew in a forked child: with a route and connections of its own."""
        if self._pid != os.getpid():
            self._begin(self.route.cluster, self._calls.high_water.revision)
