"""Client: every operation of the store as a blocking method."""

import random
import threading
import time
from collections.abc import Callable, Iterable
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
    check_timeout,
    check_watch,
    seconds_of,
)
from skiff.backing_up import back_up
from skiff.backup import Backup, Writable
from skiff.bound import BoundToProcess
from skiff.caller import Caller
from skiff.cluster_methods import ClusterMethods
from skiff.errors import StreamClosed, TransactionConflict
from skiff.functions import check_function
from skiff.lease import Lease, LeaseKeeper
from skiff.lease_methods import LeaseMethods
from skiff.method import ExactlyOnce, Method
from skiff.mirror import Feeder, Mirror
from skiff.mirroring import BEGIN_SECONDS, MirrorState
from skiff.namespace import Namespace
from skiff.pipeline import Pipeline
from skiff.progress import Progress
from skiff.read_methods import ReadMethods
from skiff.recipe_methods import RecipeMethods
from skiff.recipes.coordinator import Coordinator
from skiff.rights_methods import RightsMethods
from skiff.subscriber import Subscriber
from skiff.transaction import Transaction
from skiff.transport import Transport
from skiff.values import check_type
from skiff.write_methods import WriteMethods

ValueT = TypeVar("ValueT")
ReturnT = TypeVar("ReturnT")

DEFAULT_TIMEOUT = 5.0


class Client(
    ReadMethods,
    WriteMethods,
    LeaseMethods,
    RecipeMethods,
    ClusterMethods,
    RightsMethods,
    BoundToProcess,
):
    """Client of a cluster, through any of its nodes.

    Connections open on first use. Threads may share a client, and a forked child may go on using it
    with connections of its own.

    Every method takes ``timeout`` in seconds, None for no limit; the default is the client's. It
    holds for each request of a method, of which there is one, except where the method says more.
    Within it the client retries, on other nodes too, and a write is still applied at most once.

    Every operation is linearizable: it sees all writes acknowledged before it began. Reads may ask
    for less by ``read``:

    - "leader-lease" saves the quorum round trip, and is linearizable only while clock drift stays
      within the bounds that the README states.
    - "stale" takes the state of the node that answers as it is, without the leader; with
      ``max_staleness``, in seconds, the state was linearizable at most so long ago.

    Whatever the mode, a client never reads an older state than it has seen. ``at_least`` also
    requires a revision, such as one that another process has passed on.

    Besides the errors listed with it, every method may raise:

    - ``NoNodeReached``: no node accepted a connection or replied before the deadline.
    - ``ClientConnectFailed``: the nodes belong to another cluster, or no socket can be opened.
    - ``RequestTimeout``: the deadline passed; nothing was changed.
    - ``Overloaded``: the node has too many requests; nothing was changed.
    - ``PermissionDenied``: the client's user lacks a right, or the nodes refuse its key or require
      one; nothing was changed.
    - ``ClientClosed``: the client is closed, or was closed meanwhile.
    - ``Unsupported``: a node or a member runs a version that cannot do it; nothing was changed.
    - ``RPCCallFailed``: a node sent a reply that the client does not understand.
    - ``InvalidRequest``: ``timeout`` is not positive.
    """

    def __init__(
        self,
        target: str | Iterable[str] | None = None,
        *,
        timeout: float | None = DEFAULT_TIMEOUT,
        follow_leader: bool = True,
        key: KeyPath = None,
        server_key: KeyPath = None,
    ) -> None:
        """Name the cluster.

        ``target`` is addresses, a ``skiff://`` or ``skiffs://`` URL, or None for the environment
        variable SKIFF_URL. ``timeout`` is the default for all methods, in seconds, None for no
        limit. With ``follow_leader=False``, requests go to the named nodes only.

        ``key`` is the secret key file of a user or of the cluster, None for the one of the URL or
        of SKIFF_KEY, "" for none: with one, all connections are encrypted, and only nodes of its
        cluster are used. ``server_key`` replaces the cluster's public keys in that file: it is a
        public key file of a cluster, or a public key as text, None for SKIFF_SERVER_KEY.

        Raises:
            MissingClusterConfig: neither ``target`` nor SKIFF_URL has an address.
            InvalidAddress: an address does not parse as ``host`` or ``host:port``, or is no str.
            InvalidKey: a key file cannot be used, the URL's scheme contradicts the keys, or
                ``server_key`` is given without ``key``.
            InvalidRequest: ``timeout`` is not positive, or ``follow_leader`` is no bool.
        """
        check_timeout(timeout)
        check_bool("follow_leader", follow_leader)
        target = collected(target)
        self._timeout = timeout
        transport = Transport(keys_of(target, key, server_key))
        self._caller = Caller(
            endpoints_of(target), follow_leader=follow_leader, transport=transport
        )
        self._leases = LeaseKeeper(
            self._run, self._caller.disconnect, lambda: self._caller.transport.closed
        )
        self._coordinator = Coordinator(self, self._run, self._leases, timeout)

    def __repr__(self) -> str:
        return f"<Client of {self._caller.described}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections, subscribers and backups, within a second.

        Calls in progress and later calls raise ``ClientClosed``.
        """
        self._caller.close()

    def pipeline(self, *, timeout: Timeout = CLIENT_DEFAULT) -> Pipeline:
        """Return a pipeline: it collects operations and sends them in as few requests as possible.

        Writes take effect in the order in which they were added, each exactly once, and a read
        sees the writes before it; they are not atomic. ``timeout`` holds for all of them together.
        """
        seconds = self._seconds(timeout)
        return Pipeline(lambda operations: self._caller.pipeline(operations, seconds))

    def lease(self, ttl: float, *, timeout: Timeout = CLIENT_DEFAULT) -> Lease:
        """Begin a lease of ``ttl`` seconds, from 1 to 30 days, kept alive in the background.

        Keys that are inserted with it are removed when it ends: when it is revoked, as by leaving
        its ``with`` block, or has not been kept alive for ``ttl`` seconds, and up to a third more.

        Raises:
            TooManyLeases: the cluster has 100,000 leases.
            InvalidRequest: ``ttl`` is out of its bounds.
            StorageFull: the disks of a majority are full, or the quota is reached.
            OutcomeUnknown: the deadline passed; it may have begun, and expires then.
            RequestTimeout: the deadline passed; no lease was begun.
        """
        return self._leases.add(self._run(leasing.grant(ttl), timeout))

    def transaction(self, *, timeout: Timeout = CLIENT_DEFAULT) -> Transaction:
        """Return a transaction: reads, and writes that are buffered until it is committed.

        ``timeout`` holds for each read and for the commit.

        Raises:
            InvalidRequest: ``timeout`` is not positive.
        """
        self._seconds(timeout)
        return self._transaction(lambda: timeout)

    def _transaction(self, seconds: Callable[[], Timeout]) -> Transaction:
        """Return a transaction; ``seconds`` returns the timeout of its next request."""
        return Transaction(
            lambda key: self.get_entry(key, msgspec.Raw, timeout=seconds()),
            lambda checks, then: self.transact(checks, then, timeout=seconds()),
        )

    def run_transaction(
        self, function: Callable[[Transaction], ReturnT], *, timeout: Timeout = CLIENT_DEFAULT
    ) -> ReturnT:
        """Call a function with a transaction, commit it, and return the function's result.

        If a key that it has read was changed meanwhile, the function is called again, after a
        pause, until ``timeout`` has passed; also if it has failed on values that were never there
        together, as its reads are made one after another. It must not have other effects than its
        transaction.

        Raises:
            TransactionConflict: each attempt conflicted until the deadline; nothing was written.
            InvalidRequest: ``timeout`` is not positive, the function is a coroutine's, or the
                transaction is too large.
            OutcomeUnknown: the deadline passed; it may have been committed, or may yet be.
            RequestTimeout: the deadline passed; nothing was written.
        """
        check_function(function)
        deadline = deadline_of(self._seconds(timeout), time.monotonic())
        backoff = Backoff(deadline)
        while True:
            transaction = self._transaction(lambda: backoff.left(time.monotonic()))
            try:
                return transaction.perform(function)
            except TransactionConflict:
                pause = backoff.next_pause(time.monotonic(), random.random())
                if pause is None or transaction.revision is not None:  # it had committed
                    raise
                self._caller.transport.pause(pause)

    def namespace(self, prefix: str, type: Any = Any) -> Namespace[Any]:
        """Return the keys under a prefix as a mapping to values of a type.

        Raises:
            InvalidRequest: the prefix is invalid, or msgspec does not support the type.
        """
        return Namespace(self, prefix, type)

    def watch(
        self,
        prefix: str = "",
        *,
        type: Any = Any,
        since: int | None = None,
        initial: bool = False,
        prev_value: bool = False,
        timeout: Timeout = CLIENT_DEFAULT,
    ) -> Subscriber:
        """Subscribe to the changes of the keys under a prefix.

        Every change made after this returned is delivered, in order of revision, with its value as
        ``type``. With ``since``, so is every change after that revision. With ``initial``, the
        entries that are there come first, as inserts of their revisions, then a mark of kind
        "synced", then the changes after them; they are read at once, and kept until they are
        received. With ``prev_value``, each event has the value before the change, as ``type``, too.
        ``timeout`` is for the subscription to be confirmed, and for each page of entries.

        Raises:
            InvalidRequest: the prefix is invalid, msgspec does not support the type, ``since`` is
                no revision, or one from the future, or is given together with ``initial``.
            Compacted: no node has the changes after ``since`` any more.
            StreamClosed: the entries could not be read at one revision.
            Overloaded: the node has 1,024 scans; see ``scan``.
            RequestTimeout: no node confirmed the subscription before the deadline.
            Unsupported: likewise, as the nodes run an older version, without previous values.
        """
        prefix = check_watch(prefix, since, initial=initial, prev_value=prev_value)
        check_type(type)
        seconds = self._seconds(timeout)
        subscriber = Subscriber(self._caller, prefix, type, seconds, since, prev_value=prev_value)
        try:
            if initial:
                subscriber.begin_with(self._run(reads.entries(prefix), timeout))
        except BaseException:
            subscriber.close()
            raise
        return subscriber

    def mirror(
        self, prefix: str, type: Any = Any, *, timeout: Timeout = CLIENT_DEFAULT
    ) -> Mirror[Any]:
        """Return a local mapping of the keys under a prefix to values of a type, kept current.

        It holds the entries that are there when this returns, and then every change as a watch
        delivers it. ``timeout`` is for the subscription to be confirmed, and for each page of
        entries.

        Raises:
            InvalidRequest: the prefix is invalid, or msgspec does not support the type.
            StreamClosed: the entries could not be read at one revision.
            RequestTimeout: no node confirmed the subscription before the deadline.
        """
        check_type(type)
        synced = threading.Event()
        # A callback's SystemExit would end no more than the mirror's thread.
        state = MirrorState(prefix, type, synced, logged_errors=BaseException)
        feeder = Feeder(
            state,
            self.watch(prefix, initial=True, timeout=timeout),
            lambda: self.watch(prefix, initial=True, timeout=BEGIN_SECONDS),
            self._caller.disconnect,
        )
        feeder.start()
        return Mirror(state, synced, feeder)

    def backup(
        self,
        path: str | PathLike[str] | Writable,
        *,
        progress: Progress | None = None,
        timeout: Timeout = CLIENT_DEFAULT,
    ) -> Backup:
        """Write a snapshot of the whole state, taken after this call began, to a new file.

        One node takes it and goes on serving. The file gets its path only after it was verified.
        ``path`` may also be a binary stream; if this raises, what the stream got is no backup.
        ``timeout`` holds for each chunk of 256 KiB. ``progress`` is called after each chunk with
        the rows so far and an estimate of their total. See ``skiff.restore``.

        Raises:
            StreamClosed: the node dropped the snapshot: it restarted, no chunk was read for long,
                or several other backups began there.
            OSError: the file exists, or cannot be written.
            InvalidRequest: ``path`` is neither a path nor a binary stream, or ``progress`` cannot
                be called.
        """
        route = self._caller.route
        caller = Caller(
            route.all,
            follow_leader=False,
            cluster=route.cluster,
            transport=self._caller.transport,
        )
        return back_up(caller, path, self._seconds(timeout), progress)

    # ---

    def _seconds(self, timeout: Timeout) -> float | None:
        return seconds_of(timeout, self._timeout)

    def _run(self, method: Method[ReturnT], timeout: Timeout) -> ReturnT:
        """Return the result of a method; the timeout holds for each of its requests."""
        seconds = self._seconds(timeout)
        try:
            asked = next(method)
            while True:
                if isinstance(asked, ExactlyOnce):
                    outcome: Outcome = self._caller.write(asked.command, seconds)
                    asked = method.send(outcome)
                    continue
                try:
                    outcome = self._caller.call(
                        asked.operation, seconds, writes=asked.writes, anchor=asked.anchor
                    )
                except StreamClosed as closed:
                    asked = method.throw(closed)
                else:
                    asked = method.send(outcome)
        except StopIteration as stop:
            result: ReturnT = stop.value
            return result
