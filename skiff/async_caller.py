"""AsyncCaller: performs the calls of an ``AsyncClient``, over one connection to each node."""

import asyncio
import os
import warnings
import weakref
from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol

from protocol.client.calls import Calls
from protocol.client.census import Census
from protocol.client.link import Link
from protocol.client.pipeline import Pipelined
from protocol.client.routing import Route, address_of
from protocol.client.steps import (
    Answered,
    Ask,
    AwaitOthers,
    Counted,
    Lost,
    Pause,
    Result,
    ReturnT,
    Steps,
    TakeCensus,
)
from protocol.deadlines import NEVER, deadline_of
from protocol.messages.client import Hello, Operation, Outcome
from protocol.security.keys import ClientKeys
from protocol.state.commands import Command
from skiff.async_connection import AsyncConnection, PendingAsk
from skiff.endings import outcome_of, outcomes_of
from skiff.errors import (
    ClientClosed,
    ClientConnectFailed,
    RPCCallFailed,
    SkiffError,
)
from skiff.feed import Feeds
from skiff.in_flight import InFlightLimit
from skiff.method import Anchor, anchored
from skiff.transport import Transport

LOOK_SECONDS = 0.02  # between two checks of a census in progress
LEFT_SECONDS_MIN = 0.001  # as a timeout is positive


class Dependent(Protocol):
    """A subscriber or a backup, closed together with its client."""

    def close(self) -> None:
        """Close it, even while it is in use."""


class AsyncCaller:
    """Performs concurrent calls within one event loop of one process."""

    def __init__(
        self,
        endpoints: list[str],
        *,
        follow_leader: bool,
        max_in_flight: int,
        keys: ClientKeys | None = None,
    ) -> None:
        self.route = Route(endpoints, follow_leader=follow_leader)
        self._pid = os.getpid()
        self.transport = Transport(keys)
        self._calls = Calls(self.route, self._clock)
        self._link = Link(self.route)
        self._nodes: dict[str, AsyncConnection] = {}
        self.feeds = Feeds(self.transport)
        self._in_flight = InFlightLimit(max_in_flight)
        self._any_result: asyncio.Future[None] | None = None  # done at the next result of any call
        self._census = Census(map(address_of, endpoints))
        self._loop: asyncio.AbstractEventLoop | None = None
        self._dropped: weakref.finalize[..., AsyncCaller] | None = None
        self.dependents: weakref.WeakSet[Dependent] = weakref.WeakSet()

    async def call(
        self,
        operation: Operation,
        seconds: float | None,
        *,
        writes: bool = False,
        anchor: Anchor | None = None,
        urgent: bool = False,
    ) -> Outcome:
        """Return the outcome of an operation; ``anchor`` names the node to ask, or learns it.

        An urgent one is sent though too many calls are in flight.

        Raises:
            SkiffError: the call failed; its class tells whether a write may have been done.
        """
        deadline = self._deadline(seconds)
        link = self._link if anchor is None else anchored(anchor, self.route)
        steps = self._calls.call(link, operation, deadline, writes=writes)
        ending = await self._perform_all(steps, deadline, urgent=urgent)
        return outcome_of(ending, self.route, closed=self.is_closed)

    async def write(
        self, command: Command, seconds: float | None, *, urgent: bool = False
    ) -> Outcome:
        """Return the outcome of a command that is applied exactly once; ``urgent`` as for ``call``.

        Raises:
            SkiffError: the call failed; its class tells whether a write may have been done.
        """
        deadline = self._deadline(seconds)
        steps = self._calls.write(self._link, command, deadline)
        ending = await self._perform_all(steps, deadline, urgent=urgent)
        return outcome_of(ending, self.route, closed=self.is_closed)

    async def pipeline(
        self, operations: Sequence[Pipelined], seconds: float | None
    ) -> list[Outcome | SkiffError]:
        """Return the outcome or the error of each operation, in order.

        Raises:
            RequestTimeout: too many calls were in flight until the deadline.
        """
        deadline = self._deadline(seconds)
        steps = self._calls.pipeline(self._link, operations, deadline)
        endings = await self._perform_all(steps, deadline)
        return outcomes_of(endings, self.route, closed=self.is_closed)

    async def await_slot(self, seconds: float | None) -> float | None:
        """Wait for the turn of a call that is urgent from then on; return the seconds left to it.

        Raises:
            RequestTimeout: too many calls were in flight until the deadline.
            ClientClosed: the client is closed.
            SkiffError: the caller runs in another event loop, or in a forked process.
        """
        deadline = self._deadline(seconds)
        await self._in_flight.wait(deadline)
        self._in_flight.leave()  # the call takes one itself, in this turn of the loop
        return None if deadline == NEVER else max(deadline - self._clock(), LEFT_SECONDS_MIN)

    @property
    def has_key(self) -> bool:
        """Whether nodes know the client as a user."""
        return self.transport.keys is not None

    def note_revision(self, revision: int) -> None:
        """Read no state from before a revision from now on."""
        self._calls.high_water.rise_to(revision)

    @property
    def described(self) -> str:
        """The addresses of the cluster, and whether the client is closed, for messages."""
        return f"{self.route.described}, closed" if self.is_closed else self.route.described

    @property
    def is_closed(self) -> bool:
        """Whether ``close`` was called."""
        return self.transport.closed

    def close(self) -> None:
        """Close all connections, subscribers and backups; calls end with ``ClientClosed``.

        Raises:
            SkiffError: the caller runs outside the client's event loop.
        """
        if self._pid != os.getpid():
            self.transport.close()  # the loop watches the parent's sockets, which go on
            return
        if self._loop is not None and not self._loop.is_closed():
            self._check_loop()
        if self._dropped is not None:
            self._dropped.detach()
        try:
            for dependent in list(self.dependents):
                dependent.close()
            for connection in self._nodes.values():
                connection.close()
            self._nodes.clear()
        finally:
            self.transport.close()

    @property
    def endpoint(self) -> str:
        """The node that requests are sent to; empty while none is chosen."""
        return self._link.endpoint

    def move_on(self, anchor: Anchor | None = None) -> None:
        """Send the next request, or an anchor's, to another node if there is one."""
        link = self._link if anchor is None else anchored(anchor, self.route)
        link.abandon(link.endpoint, self._clock())

    # --- steps

    async def _perform_all(
        self, steps: Steps[ReturnT], deadline: float, *, urgent: bool = False
    ) -> ReturnT:
        """Drive a call, which counts as in flight meanwhile."""
        if urgent or self._in_flight.has_room:
            self._in_flight.take()
        else:
            await self._in_flight.wait(deadline)
        pending: PendingAsk | None = None
        result: Result = None
        try:
            while True:
                step = steps.send(result)
                if isinstance(step, Ask):
                    pending = self._ask(step)
                    result = await pending.future
                    self._wake_waiters()
                else:
                    result = await self._perform(step)
        except StopIteration as stop:
            ending: ReturnT = stop.value
            return ending
        finally:
            steps.close()
            if pending is not None and pending.is_sent:  # cancelled: the request is on its way
                pending.on_end = self._in_flight.leave
            else:
                self._in_flight.leave()

    async def _perform(self, step: Pause | AwaitOthers | TakeCensus) -> Counted | None:
        match step:
            case Pause(seconds=seconds):
                await asyncio.sleep(seconds)
                return None
            case AwaitOthers(seconds=seconds):
                await self._await_any_result(seconds)
                return None
            case TakeCensus():
                return await self._take_census(step)

    def _ask(self, ask: Ask) -> PendingAsk:
        """Send a request, with the next ones of this turn; its future always gets a result."""
        obstacle = ""
        if not self.is_closed and not self._drop_if_lost(ask.endpoint):
            try:
                return self._connect(ask.endpoint).ask(ask)
            except ClientConnectFailed as failure:  # out of sockets, which may pass
                obstacle = str(failure)
        unsent = PendingAsk(ask, asyncio.get_running_loop().create_future())
        unsent.resolve(Lost(sent=False, obstacle=obstacle))
        return unsent

    def _wake_waiters(self) -> None:
        """Wake the calls that wait for a result of another one."""
        if self._any_result is not None and not self._any_result.done():
            self._any_result.set_result(None)

    async def _await_any_result(self, seconds: float) -> None:
        """Wait until any call gets a result, at most ``seconds``."""
        if self._any_result is None or self._any_result.done():
            self._any_result = asyncio.get_running_loop().create_future()
        await asyncio.wait({self._any_result}, timeout=seconds)

    def _connect(self, endpoint: str) -> AsyncConnection:
        connection = self._nodes.get(endpoint)
        if connection is None:
            connection = self._nodes[endpoint] = AsyncConnection(self.transport, endpoint)
        return connection

    def _drop_if_lost(self, endpoint: str) -> bool:
        """Forget a lost connection; return whether there was one.

        The request is not sent over a new one: another node may be at the address by now, and is
        greeted first.
        """
        connection = self._nodes.get(endpoint)
        if connection is None or not connection.is_lost:
            return False
        del self._nodes[endpoint]
        return True

    # --- the census

    async def _take_census(self, step: TakeCensus) -> Counted:
        self._census.begin(address_of(step.greeted), step.welcome, self._clock())
        asked: list[asyncio.Task[None]] = []
        try:
            while (counted := self._census.count(self._clock(), step.deadline)) is None:
                if not asked:
                    others = [each for each in self.route.given if each != step.greeted]
                    asked = [asyncio.ensure_future(self._ask_for_census(e, step)) for e in others]
                await asyncio.sleep(LOOK_SECONDS)
            return counted
        finally:
            for task in asked:
                task.cancel()

    async def _ask_for_census(self, endpoint: str, step: TakeCensus) -> None:
        try:
            result = await self._ask(Ask(endpoint, (Hello(),), step.deadline)).future
            self._wake_waiters()
        except RPCCallFailed:
            result = Lost(sent=True)
        outcome = result.outcomes[0] if isinstance(result, Answered) else None
        self._census.note_outcome(address_of(endpoint), outcome)

    # --- the loop

    def _deadline(self, seconds: float | None) -> float:
        self.check_place()
        return deadline_of(seconds, self._clock())

    def _clock(self) -> float:
        """Return the loop's time in seconds; infinite, and so past every deadline, once closed."""
        if self.is_closed or self._loop is None:
            return NEVER
        return self._loop.time()

    def check_place(self) -> None:
        """Bind the client to the first event loop that uses it.

        Raises:
            ClientClosed: the client is closed.
            SkiffError: the caller runs in another event loop, or in a forked process.
        """
        if self.is_closed:
            raise ClientClosed("the client is closed; this call did nothing")
        if self._pid != os.getpid():
            raise SkiffError("an AsyncClient cannot be used after a fork; create a new one")
        if self._loop is None:
            self._bind(asyncio.get_running_loop())
        else:
            self._check_loop()

    def _bind(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        bound = (self._pid, loop, self._nodes, self.route)
        self._dropped = weakref.finalize(self, _close_dropped, *bound)
        self._dropped.atexit = False

    def _check_loop(self) -> None:
        if self._loop is not asyncio.get_running_loop():
            raise SkiffError("an AsyncClient belongs to one event loop; create one for each loop")


def _close_dropped(
    pid: int, loop: asyncio.AbstractEventLoop, nodes: dict[str, AsyncConnection], route: Route
) -> None:
    """Close the connections of a client that is dropped without ``aclose``, in any thread.

    The loop refers to them, as it watches their sockets; a closed one does not.
    """
    if pid != os.getpid():
        return  # the loop watches the parent's sockets, which go on
    with suppress(RuntimeError):  # the loop is closed
        loop.call_soon_threadsafe(_close_all, nodes)
    warnings.warn(f"unclosed AsyncClient of {route.described}", ResourceWarning, stacklevel=1)


def _close_all(nodes: dict[str, AsyncConnection]) -> None:
    for connection in nodes.values():
        connection.close()
