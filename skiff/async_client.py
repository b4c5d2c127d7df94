"""AsyncClient: every operation of the store as a coroutine."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from os import PathLike
from types import TracebackType
from typing import Any, Self, TypeVar

import msgspec

from protocol.client.backoff import Backoff
from protocol.deadlines import deadline_of
from protocol.messages.client import Outcome
from skiff import leasing, reads
from skiff.addresses import KeyPath, collected, endpoints_of, keys_of
from skiff.arguments import (
    CLIENT_DEFAULT,
    Timeout,
    check_bool,
    check_in_flight,
    check_timeout,
    check_watch,
    milliseconds_of,
    seconds_of,
)
from skiff.async_caller import AsyncCaller
from skiff.async_cluster_methods import AsyncClusterMethods
from skiff.async_lease import AsyncLease, AsyncLeaseKeeper
from skiff.async_lease_methods import AsyncLeaseMethods
from skiff.async_mirror import AsyncFeeder, AsyncMirror
from skiff.async_namespace import AsyncNamespace
from skiff.async_read_methods import AsyncReadMethods
from skiff.async_recipe_methods import AsyncRecipeMethods
from skiff.async_rights_methods import AsyncRightsMethods
from skiff.async_subscriber import AsyncSubscriber
from skiff.async_write_methods import AsyncWriteMethods
from skiff.backing_up import back_up
from skiff.backup import Backup, Writable
from skiff.bound import BoundToProcess
from skiff.caller import Caller
from skiff.client import DEFAULT_TIMEOUT, Client
from skiff.descriptions import described_by
from skiff.errors import StreamClosed, TransactionConflict
from skiff.functions import check_async_function, check_awaitable
from skiff.method import ExactlyOnce, Method
from skiff.mirroring import BEGIN_SECONDS, MirrorState
from skiff.pipeline import AsyncPipeline
from skiff.progress import Progress
from skiff.recipes.async_coordinator import AsyncCoordinator
from skiff.transaction import AsyncTransaction
from skiff.transport import Transport
from skiff.values import check_type

ValueT = TypeVar("ValueT")
ReturnT = TypeVar("ReturnT")

MAX_IN_FLIGHT = 2048


@described_by(Client)
class AsyncClient(
    AsyncReadMethods,
    AsyncWriteMethods,
    AsyncLeaseMethods,
    AsyncRecipeMethods,
    AsyncClusterMethods,
    AsyncRightsMethods,
    BoundToProcess,
):
    """Client of a cluster for one event loop, with the methods of ``Client`` as coroutines.

    Calls may be awaited concurrently. Calls issued in one turn of the loop share frames, where
    their deadlines and sizes allow, and are done in no particular order. At most ``max_in_flight``
    calls are in flight; further ones wait, but for those that keep a lease alive, revoke it or
    release a lock. A cancelled call may have been done or may yet be, as after ``OutcomeUnknown``.
    """

    def __init__(
        self,
        target: str | Iterable[str] | None = None,
        *,
        timeout: float | None = DEFAULT_TIMEOUT,
        follow_leader: bool = True,
        max_in_flight: int = MAX_IN_FLIGHT,
        key: KeyPath = None,
        server_key: KeyPath = None,
    ) -> None:
        """Name the cluster; connections open on first use.

        ``target``, ``timeout``, ``follow_leader``, ``key`` and ``server_key`` are as for
        ``Client``, ``max_in_flight`` as described above.

        Raises:
            MissingClusterConfig: neither ``target`` nor SKIFF_URL has an address.
            InvalidAddress: an address does not parse as ``host`` or ``host:port``, or is no str.
            InvalidKey: a key file cannot be used, the URL's scheme contradicts the keys, or
                ``server_key`` is given without ``key``.
            InvalidRequest: ``timeout`` or ``max_in_flight`` is not positive, or ``follow_leader``
                is no bool.
        """
        check_timeout(timeout)
        check_in_flight(max_in_flight)
        check_bool("follow_leader", follow_leader)
        target = collected(target)
        self._timeout = timeout
        self._caller = AsyncCaller(
            endpoints_of(target),
            follow_leader=follow_leader,
            max_in_flight=max_in_flight,
            keys=keys_of(target, key, server_key),
        )
        self._leases = AsyncLeaseKeeper(partial(self._run, urgent=True))
        self._caller.dependents.add(self._leases)
        self._coordinator = AsyncCoordinator(self, self._run, self._leases.add, timeout)

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
        try:
            await self._leases.releases.ended()
        finally:
            self._caller.close()
        await self._leases.closed()

    async def lease(self, ttl: float, *, timeout: Timeout = CLIENT_DEFAULT) -> AsyncLease:
        """Begin a lease of ``ttl`` seconds, kept alive in the background; see ``Client.lease``."""
        milliseconds_of(ttl)  # checks it before anything is done
        # The lease counts from before its request, but not from before the wait for a place.
        left = await self._caller.await_slot(self._seconds(timeout))
        return self._leases.add(await self._run(leasing.grant(ttl), left, urgent=True))

    def transaction(self, *, timeout: Timeout = CLIENT_DEFAULT) -> AsyncTransaction:
        """Return a transaction; see ``Client.transaction``."""
        self._seconds(timeout)
        return self._transaction(lambda: timeout)

    def _transaction(self, seconds: Callable[[], Timeout]) -> AsyncTransaction:
        """Return a transaction; ``seconds`` returns the timeout of its next request."""
        return AsyncTransaction(
            lambda key: self.get_entry(key, msgspec.Raw, timeout=seconds()),
            lambda checks, then: self.transact(checks, then, timeout=seconds()),
        )

    async def run_transaction(
        self,
        function: Callable[[AsyncTransaction], Awaitable[ReturnT]],
        *,
        timeout: Timeout = CLIENT_DEFAULT,
    ) -> ReturnT:
        """Call a coroutine function with a transaction; see ``Client.run_transaction``."""
        check_async_function(function)
        clock = asyncio.get_running_loop().time
        deadline = deadline_of(self._seconds(timeout), clock())
        backoff = Backoff(deadline)
        while True:
            transaction = self._transaction(lambda: backoff.left(clock()))
            try:
                return await transaction.perform(lambda it: check_awaitable(function(it)))
            except TransactionConflict:
                pause = backoff.next_pause(clock(), random.random())
                if pause is None or transaction.revision is not None:  # it had committed
                    raise
                await asyncio.sleep(pause)

    def pipeline(self, *, timeout: Timeout = CLIENT_DEFAULT) -> AsyncPipeline:
        """Collect operations to send together; see ``Client.pipeline``."""
        seconds = self._seconds(timeout)
        return AsyncPipeline(lambda operations: self._caller.pipeline(operations, seconds))

    def namespace(self, prefix: str, type: Any = Any) -> AsyncNamespace[Any]:
        """Return the keys under a prefix as values of a type; see ``Client.namespace``."""
        return AsyncNamespace(self, prefix, type)

    async def watch(
        self,
        prefix: str = "",
        *,
        type: Any = Any,
        since: int | None = None,
        initial: bool = False,
        prev_value: bool = False,
        timeout: Timeout = CLIENT_DEFAULT,
    ) -> AsyncSubscriber:
        """Subscribe to the changes of the keys under a prefix; see ``Client.watch``."""
        prefix = check_watch(prefix, since, initial=initial, prev_value=prev_value)
        check_type(type)
        subscriber = AsyncSubscriber(self._caller, prefix, type, since, prev_value=prev_value)
        self._caller.dependents.add(subscriber)
        try:
            await subscriber.establish(self._seconds(timeout))
            if initial:
                subscriber.begin_with(await self._run(reads.entries(prefix), timeout))
        except BaseException:
            subscriber.close()
            raise
        return subscriber

    async def mirror(
        self, prefix: str, type: Any = Any, *, timeout: Timeout = CLIENT_DEFAULT
    ) -> AsyncMirror[Any]:
        """Return a local mapping of the keys under a prefix; see ``Client.mirror``."""
        check_type(type)
        synced = asyncio.Event()
        state = MirrorState(prefix, type, synced)
        feeder = AsyncFeeder(
            state,
            await self.watch(prefix, initial=True, timeout=timeout),
            lambda: self.watch(prefix, initial=True, timeout=BEGIN_SECONDS),
        )
        await feeder.start()
        return AsyncMirror(state, synced, feeder)

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
        transport = Transport(self._caller.transport.keys)
        caller = Caller(route.all, follow_leader=False, cluster=route.cluster, transport=transport)
        self._caller.dependents.add(caller)
        try:
            return await asyncio.to_thread(back_up, caller, path, seconds, progress)
        finally:
            caller.close()

    # ---

    def _seconds(self, timeout: Timeout) -> float | None:
        return seconds_of(timeout, self._timeout)

    async def _run(
        self, method: Method[ReturnT], timeout: Timeout, *, urgent: bool = False
    ) -> ReturnT:
        """Return the result of a method; the timeout holds for each of its requests.

        Those of an urgent one do not wait for their turn among ``max_in_flight`` calls.
        """
        seconds = self._seconds(timeout)
        try:
            asked = next(method)
            while True:
                if isinstance(asked, ExactlyOnce):
                    outcome: Outcome = await self._caller.write(
                        asked.command, seconds, urgent=urgent
                    )
                    asked = method.send(outcome)
                    continue
                try:
                    outcome = await self._caller.call(
                        asked.operation,
                        seconds,
                        writes=asked.writes,
                        anchor=asked.anchor,
                        urgent=urgent,
                    )
                except StreamClosed as closed:
                    asked = method.throw(closed)
                else:
                    asked = method.send(outcome)
        except StopIteration as stop:
            result: ReturnT = stop.value
            return result
