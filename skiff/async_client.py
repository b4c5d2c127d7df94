"""AsyncClient: every operation of the store as a coroutine."""

import asyncio
import random
import uuid
from collections.abc import Awaitable, Callable, Iterable, Mapping
from os import PathLike
from types import TracebackType
from typing import Any, Self, TypeVar, overload

import msgspec

from protocol.client.backoff import SHORTEST_SECONDS, Backoff
from protocol.deadlines import NEVER, deadline_of
from protocol.keys import encode_prefix
from protocol.messages.client import Outcome
from skiff import methods
from skiff.addresses import endpoints_of
from skiff.arguments import (
    CLIENT_DEFAULT,
    Reading,
    Timeout,
    check_in_flight,
    check_prefix,
    check_timeout,
)
from skiff.async_caller import AsyncCaller
from skiff.async_subscriber import AsyncSubscriber
from skiff.backing_up import back_up
from skiff.backup import Backup, Writable
from skiff.bound import BoundToProcess
from skiff.caller import Caller
from skiff.client import DEFAULT_TIMEOUT, Client
from skiff.descriptions import described_by
from skiff.errors import TransactionConflict
from skiff.methods import Method, Order
from skiff.operations import Check, Operation, TransactionResult
from skiff.pipeline import AsyncPipeline
from skiff.progress import Progress
from skiff.records import Entry, Member, NodeStatus
from skiff.transaction import AsyncTransaction
from skiff.values import check_type

ValueT = TypeVar("ValueT")
ReturnT = TypeVar("ReturnT")

MAX_IN_FLIGHT = 2048


@described_by(Client)
class AsyncClient(BoundToProcess):
    """Client of a cluster for one event loop, with the methods of ``Client`` as coroutines.

    Calls may be awaited concurrently. Calls issued in one turn of the loop share a frame, where
    their deadlines and sizes allow, and are done in no particular order. At most ``max_in_flight``
    calls are in flight; further ones wait. A cancelled call may have been done or may yet be, as
    after ``OutcomeUnknown``.
    """

    def __init__(
        self,
        target: str | Iterable[str] | None = None,
        *,
        timeout: float | None = DEFAULT_TIMEOUT,
        follow_leader: bool = True,
        max_in_flight: int = MAX_IN_FLIGHT,
    ) -> None:
        """Name the cluster; connections open on first use.

        ``target`` is addresses, a ``skiff://`` URL, or None for the environment variable SKIFF_URL.
        ``timeout`` is in seconds, None for no limit. With ``follow_leader=False``, requests go to
        the named nodes only. At most ``max_in_flight`` calls are in flight; further ones wait.

        Raises:
            MissingClusterConfig: neither ``target`` nor SKIFF_URL has an address.
            InvalidAddress: an address does not parse as ``host`` or ``host:port``.
            InvalidRequest: ``timeout`` or ``max_in_flight`` is not positive.
        """
        check_timeout(timeout)
        check_in_flight(max_in_flight)
        self._timeout = timeout
        self._caller = AsyncCaller(
            endpoints_of(target), follow_leader=follow_leader, max_in_flight=max_in_flight
        )

    def __repr__(self) -> str:
        return f"<AsyncClient of {self._caller.described}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections; pending and later calls raise ``ClientClosed``.

        Raises:
            SkiffError: the client belongs to another event loop, which still runs.
        """
        self._caller.close()

    # --- values

    async def insert(
        self,
        key: str,
        value: object,
        *,
        if_revision: int | None = None,
        timeout: Timeout = CLIENT_DEFAULT,
    ) -> int:
        """Write a value and return the revision of that write; see ``Client.insert``."""
        return await self._run(methods.insert(key, value, if_revision), timeout)

    @overload
    async def get(
        self, key: str, type: type[ValueT], *, read: Reading = ..., timeout: Timeout = ...
    ) -> ValueT | None: ...
    @overload
    async def get(
        self,
        key: str,
        type: type[ValueT],
        *,
        default: ValueT,
        read: Reading = ...,
        timeout: Timeout = ...,
    ) -> ValueT: ...
    @overload
    async def get(
        self,
        key: str,
        type: Any = ...,
        *,
        default: Any = ...,
        read: Reading = ...,
        timeout: Timeout = ...,
    ) -> Any: ...
    async def get(
        self,
        key: str,
        type: Any = Any,
        *,
        default: Any = None,
        read: Reading = "linearizable",
        timeout: Timeout = CLIENT_DEFAULT,
    ) -> Any:
        """Return a key's value as ``type``, or ``default``; see ``Client.get``."""
        return await self._run(methods.get(key, type, default, read), timeout)

    @overload
    async def get_entry(
        self, key: str, type: type[ValueT], *, read: Reading = ..., timeout: Timeout = ...
    ) -> Entry[ValueT] | None: ...
    @overload
    async def get_entry(
        self, key: str, type: Any = ..., *, read: Reading = ..., timeout: Timeout = ...
    ) -> Entry[Any] | None: ...
    async def get_entry(
        self,
        key: str,
        type: Any = Any,
        *,
        read: Reading = "linearizable",
        timeout: Timeout = CLIENT_DEFAULT,
    ) -> Entry[Any] | None:
        """Return a key's value, revisions and version, or None; see ``Client.get_entry``."""
        return await self._run(methods.get_entry(key, type, read), timeout)

    async def remove(
        self,
        key: str,
        *,
        if_revision: int | None = None,
        timeout: Timeout = CLIENT_DEFAULT,
    ) -> bool:
        """Remove a key; return whether it existed; see ``Client.remove``."""
        return await self._run(methods.remove(key, if_revision), timeout)

    async def insert_many(
        self, values: Mapping[str, object], *, timeout: Timeout = CLIENT_DEFAULT
    ) -> int:
        """Write several values as one change; see ``Client.insert_many``."""
        return await self._run(methods.insert_many(values), timeout)

    async def increment(self, key: str, by: int = 1, *, timeout: Timeout = CLIENT_DEFAULT) -> int:
        """Add to an integer; return the sum; see ``Client.increment``."""
        return await self._run(methods.increment(key, by), timeout)

    async def remove_prefix(self, prefix: str, *, timeout: Timeout = CLIENT_DEFAULT) -> int:
        """Remove all keys under a prefix; see ``Client.remove_prefix``."""
        return await self._run(methods.remove_prefix(prefix), timeout)

    async def transact(
        self,
        checks: Iterable[Check],
        then: Iterable[Operation],
        otherwise: Iterable[Operation] = (),
        *,
        timeout: Timeout = CLIENT_DEFAULT,
    ) -> TransactionResult:
        """Perform operations as one change, by whether checks hold; see ``Client.transact``."""
        return await self._run(methods.transact(checks, then, otherwise), timeout)

    def transaction(self, *, timeout: Timeout = CLIENT_DEFAULT) -> AsyncTransaction:
        """Return a transaction; see ``Client.transaction``."""
        self._seconds(timeout)
        return AsyncTransaction(
            lambda key: self.get_entry(key, msgspec.Raw, timeout=timeout),
            lambda checks, then: self.transact(checks, then, timeout=timeout),
        )

    async def run_transaction(
        self,
        function: Callable[[AsyncTransaction], Awaitable[ReturnT]],
        *,
        timeout: Timeout = CLIENT_DEFAULT,
    ) -> ReturnT:
        """Call a function with a transaction and commit it; see ``Client.run_transaction``."""
        clock = asyncio.get_running_loop().time
        deadline = deadline_of(self._seconds(timeout), clock())
        backoff = Backoff(deadline)
        while True:
            left = None if deadline == NEVER else max(deadline - clock(), SHORTEST_SECONDS)
            try:
                async with self.transaction(timeout=left) as transaction:
                    result = await function(transaction)
            except TransactionConflict:
                pause = backoff.next_pause(clock(), random.random())
                if pause is None:
                    raise
                await asyncio.sleep(pause)
            else:
                return result

    def pipeline(self, *, timeout: Timeout = CLIENT_DEFAULT) -> AsyncPipeline:
        """Collect operations to send together; see ``Client.pipeline``."""
        seconds = self._seconds(timeout)
        return AsyncPipeline(lambda operations: self._caller.pipeline(operations, seconds))

    # --- names

    async def list_keys(
        self,
        prefix: str = "",
        *,
        limit: int | None = None,
        start_after: str | None = None,
        read: Reading = "linearizable",
        timeout: Timeout = CLIENT_DEFAULT,
    ) -> list[str]:
        """Return the sorted keys that begin with a prefix; see ``Client.list_keys``."""
        return await self._run(methods.list_keys(prefix, limit, start_after, read), timeout)

    async def get_prefixes(
        self,
        prefix: str = "",
        *,
        read: Reading = "linearizable",
        timeout: Timeout = CLIENT_DEFAULT,
    ) -> list[str]:
        """Return every path that directly holds a key, sorted; see ``Client.get_prefixes``."""
        return await self._run(methods.get_prefixes(prefix, read), timeout)

    async def watch(
        self, prefix: str = "", *, type: Any = Any, timeout: Timeout = CLIENT_DEFAULT
    ) -> AsyncSubscriber:
        """Subscribe to the changes of the keys under a prefix; see ``Client.watch``."""
        check_prefix(prefix)
        check_type(type)
        subscriber = AsyncSubscriber(self._caller, encode_prefix(prefix), type)
        self._caller.dependents.add(subscriber)
        await subscriber.establish(self._seconds(timeout))
        return subscriber

    # --- the cluster

    async def members(self, *, timeout: Timeout = CLIENT_DEFAULT) -> list[Member]:
        """Return the members of the cluster; see ``Client.members``."""
        return list((await self.status(timeout=timeout)).members)

    async def add_member(self, address: str, *, timeout: Timeout = CLIENT_DEFAULT) -> None:
        """Add a standby node to the cluster; see ``Client.add_member``."""
        await self._run(methods.add_member(address), timeout)

    async def remove_node(
        self, node: uuid.UUID | str, *, force: bool = False, timeout: Timeout = CLIENT_DEFAULT
    ) -> uuid.UUID:
        """Remove a node from the cluster; return its id; see ``Client.remove_node``."""
        return await self._run(methods.remove_node(node, force=force), timeout)

    async def transfer_leadership(
        self, to: uuid.UUID | str | None = None, *, timeout: Timeout = CLIENT_DEFAULT
    ) -> uuid.UUID:
        """Make another voter the leader; return its id; see ``Client.transfer_leadership``."""
        return await self._run(methods.transfer_leadership(to), timeout)

    async def backup(
        self,
        path: str | PathLike[str] | Writable,
        *,
        progress: Progress | None = None,
        timeout: Timeout = CLIENT_DEFAULT,
    ) -> Backup:
        """Write a snapshot of the whole state to a new file; see ``Client.backup``.

        Another thread writes the file and calls ``progress``.
        """
        seconds, route = self._seconds(timeout), self._caller.route
        self._caller.check_place()
        caller = Caller(route.all, follow_leader=False, cluster=route.cluster)
        self._caller.dependents.add(caller)
        try:
            return await asyncio.to_thread(back_up, caller, path, seconds, progress)
        finally:
            caller.close()

    async def status(self, *, timeout: Timeout = CLIENT_DEFAULT) -> NodeStatus:
        """Return the status of the node that answers; see ``Client.status``."""
        return await self._run(methods.status(), timeout)

    # ---

    def _seconds(self, timeout: Timeout) -> float | None:
        if timeout is CLIENT_DEFAULT:
            return self._timeout
        check_timeout(timeout)
        return timeout

    async def _run(self, method: Method[ReturnT], timeout: Timeout) -> ReturnT:
        """Return the result of a method; the timeout holds for each of its requests."""
        seconds = self._seconds(timeout)
        try:
            asked = next(method)
            while True:
                if isinstance(asked, Order):
                    outcome: Outcome = await self._caller.write(asked.command, seconds)
                else:
                    outcome = await self._caller.call(asked.operation, seconds, writes=asked.writes)
                asked = method.send(outcome)
        except StopIteration as stop:
            result: ReturnT = stop.value
            return result
