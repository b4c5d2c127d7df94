"""Caller of an event loop: the calls of an ``AsyncClient``, over one connection to each node."""

import asyncio
import os
from collections.abc import Coroutine
from typing import Any

from protocol.client.attempts import PAUSE_SECONDS, Attempts
from protocol.client.calls import (
    Answered,
    Ask,
    Calls,
    Counted,
    Ending,
    Lost,
    Pause,
    Result,
    Step,
    Steps,
    TakeCensus,
)
from protocol.client.census import Census, DividedCensus
from protocol.client.link import Link
from protocol.client.routing import Route, address_of
from protocol.commands import Command
from protocol.commands import Result as WriteResult
from protocol.messages.client import Hello, Operation, Outcome
from skiff.async_connection import AsyncConnection
from skiff.endings import outcome_of, result_of
from skiff.errors import ClientClosed, ClientConnectFailed, RequestTimeout, SkiffError
from skiff.roll_call import UNDECIDED
from skiff.transport import Transport

GREETING_SECONDS = 1.0  # in which one call looks for a node on behalf of all
OPENING_SECONDS = 5.0  # in which one call opens a session on behalf of all
LOOK_SECONDS = 0.02  # between two looks at a census that is under way


class AsyncCaller:
    """Performs any number of calls at a time, within one event loop of one process."""

    def __init__(self, endpoints: list[str], *, follow_leader: bool, max_in_flight: int) -> None:
        self.route = Route(endpoints, follow_leader=follow_leader)
        self._pid = os.getpid()
        self._transport = Transport()
        self._calls = Calls(self.route, self._clock)
        self._link = Link(self.route)
        self._nodes: dict[str, AsyncConnection] = {}
        self._places = asyncio.Semaphore(max_in_flight)
        self._greeting: asyncio.Task[Ending] | None = None
        self._opening: asyncio.Task[Ending] | None = None
        self._census = Census(map(address_of, endpoints))
        self._census_began = float("inf")
        self._loop: asyncio.AbstractEventLoop | None = None

    async def call(
        self, operation: Operation, seconds: float | None, *, writes: bool = False
    ) -> Outcome:
        """Return the outcome of an operation.

        Raises:
            SkiffError: what became of it; see ``skiff.errors``.
        """
        deadline = self._deadline(seconds)
        steps = self._calls.call(self._link, operation, deadline, writes=writes)
        await self._take_place(deadline)
        try:
            ending = await self._perform_all(steps, deadline)
        finally:
            self._places.release()
        return outcome_of(ending, self.route, closed=self.is_closed)

    async def write(self, command: Command, seconds: float | None) -> WriteResult:
        """Return the result of a command that is applied exactly once.

        Raises:
            SkiffError: what became of it; see ``skiff.errors``.
        """
        deadline = self._deadline(seconds)
        await self._take_place(deadline)
        try:
            ending = await self._open_session(deadline)
            if self._calls.session is not None:
                steps = self._calls.write(self._link, command, deadline)
                ending = await self._perform_all(steps, deadline)
        finally:
            self._places.release()
        return result_of(ending, self.route, closed=self.is_closed)

    @property
    def described(self) -> str:
        """Return in words whom this speaks to, and whether it still does."""
        return f"{self.route.described}, closed" if self.is_closed else self.route.described

    @property
    def is_closed(self) -> bool:
        """Whether ``close`` was called."""
        return self._transport.closed

    def close(self) -> None:
        """Close all connections; calls that wait end with ``ClientClosed``."""
        for connection in self._nodes.values():
            connection.close()
        self._nodes.clear()
        self._transport.close()

    async def _take_place(self, deadline: float) -> None:
        """Wait until fewer calls than allowed are in flight.

        Raises:
            RequestTimeout: they are not, by the deadline.
        """
        if not self._places.locked():
            await self._places.acquire()  # at once
            return
        try:
            async with asyncio.timeout_at(None if deadline == float("inf") else deadline):
                await self._places.acquire()
        except TimeoutError:
            text = "too many calls were in flight until the deadline; nothing was asked"
            raise RequestTimeout(text) from None

    # --- steps

    async def _perform_all(self, steps: Steps[Ending], deadline: float) -> Ending:
        try:
            if not self._link.is_greeted:
                await self._greet(deadline)
            return await self._drive(steps)
        finally:
            steps.close()

    async def _greet(self, deadline: float) -> None:
        """Let one call find a node that serves, and all others wait a moment for it."""
        if self._greeting is None or self._greeting.done():
            until = self._clock() + GREETING_SECONDS
            steps = self._calls.call(self._link, Hello(), until)
            self._greeting = _task(self._drive(steps))
        await self._wait(self._greeting, deadline)

    async def _open_session(self, deadline: float) -> Ending:
        """Let one call open the session; return how that ended, where it was needed.

        If each of thousands opened one, those of other clients would have to go.
        """
        ending, until = Ending(None, Attempts(deadline, writes=False)), deadline
        while self._calls.session is None and self._clock() < deadline:
            if self._opening is None or self._opening.done():
                until = self._clock() + OPENING_SECONDS
                steps = self._calls.open_session(self._link, until)
                self._opening = _task(self._perform_all(steps, until))
            await self._wait(self._opening, deadline)
            if self._opening.done():
                ending = self._opening.result()
                if ending.outcome is not None and self._clock() + PAUSE_SECONDS < until:
                    break  # a refusal, and not for lack of time
        ending.attempts.reached |= self._link.is_greeted
        return ending

    async def _wait(self, task: "asyncio.Task[Ending]", deadline: float) -> None:
        """Wait for a call that others wait for, too: it goes on if this one is cancelled."""
        left = None if deadline == float("inf") else max(0.0, deadline - self._clock())
        await asyncio.wait({task}, timeout=left)

    async def _drive(self, steps: Steps[Ending]) -> Ending:
        result: Result = None
        try:
            while True:
                result = await self._perform(steps.send(result))
        except StopIteration as stop:
            ending: Ending = stop.value
            return ending

    async def _perform(self, step: Step) -> Result:
        match step:
            case Ask():
                return await self._ask(step)
            case Pause(seconds=seconds):
                await asyncio.sleep(seconds)
                return None
            case TakeCensus():
                return await self._take_census(step)

    async def _ask(self, ask: Ask) -> Answered | Lost:
        if self.is_closed:
            return Lost(sent=False)
        try:
            connection = self._connect(ask.endpoint)
        except ClientConnectFailed as failure:  # the process has too many sockets for the moment
            return Lost(sent=False, obstacle=str(failure))
        return await connection.ask(ask)

    def _connect(self, endpoint: str) -> AsyncConnection:
        connection = self._nodes.get(endpoint)
        if connection is None or connection.is_lost:
            connection = self._nodes[endpoint] = AsyncConnection(self._transport, endpoint)
        return connection

    # --- the census

    async def _take_census(self, step: TakeCensus) -> Counted:
        self._census_began = min(self._census_began, self._clock())
        self._census.note_outcome(address_of(step.greeted), step.welcome)
        asked: list[asyncio.Task[None]] = []
        try:
            while True:
                cluster = self._census.decide(self._clock() - self._census_began)
                if cluster or self._clock() >= step.deadline:
                    return Counted(cluster, "" if cluster else UNDECIDED)
                if not asked:
                    others = [each for each in self.route.given if each != step.greeted]
                    asked = [asyncio.ensure_future(self._ask_for_census(e, step)) for e in others]
                await asyncio.sleep(LOOK_SECONDS)
        except DividedCensus as divided:
            return Counted(b"", str(divided))
        finally:
            for task in asked:
                task.cancel()

    async def _ask_for_census(self, endpoint: str, step: TakeCensus) -> None:
        result = await self._ask(Ask(endpoint, (Hello(),), step.deadline))
        outcome = result.outcomes[0] if isinstance(result, Answered) else None
        self._census.note_outcome(address_of(endpoint), outcome)

    # --- the loop

    def _deadline(self, seconds: float | None) -> float:
        self._check_place()
        return float("inf") if seconds is None else self._clock() + seconds

    def _clock(self) -> float:
        """Return the loop's time in seconds: past every deadline once the client is closed."""
        if self.is_closed or self._loop is None:
            return float("inf")
        return self._loop.time()

    def _check_place(self) -> None:
        """Bind the client to the loop that uses it first.

        Raises:
            ClientClosed: it is closed.
            SkiffError: another loop uses it, or a forked process does.
        """
        if self.is_closed:
            raise ClientClosed("the client is closed; this call did nothing")
        if self._pid != os.getpid():
            raise SkiffError("an AsyncClient does not outlive a fork; make another one here")
        loop = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = loop
        elif self._loop is not loop:
            raise SkiffError("an AsyncClient belongs to one event loop; make one for each")


def _task(call: Coroutine[Any, Any, Ending]) -> "asyncio.Task[Ending]":
    """Begin a call for all that wait; its exception is theirs, if they still want it."""
    task = asyncio.ensure_future(call)
    task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
    return task
