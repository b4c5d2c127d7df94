"""Client: every operation of the store as a blocking method."""

import uuid
from collections.abc import Iterable
from os import PathLike
from types import TracebackType
from typing import Any, Self, TypeVar, overload

from protocol.keys import encode_prefix
from protocol.messages.client import Outcome
from skiff import methods
from skiff.addresses import endpoints_of
from skiff.arguments import (
    CLIENT_DEFAULT,
    Reading,
    Timeout,
    check_prefix,
    check_timeout,
)
from skiff.backing_up import back_up
from skiff.backup import Backup, Writable
from skiff.bound import BoundToProcess
from skiff.caller import Caller
from skiff.methods import Method, Order
from skiff.pipeline import Pipeline
from skiff.progress import Progress
from skiff.records import Entry, Member, NodeStatus
from skiff.subscriber import Subscriber
from skiff.values import check_type

ValueT = TypeVar("ValueT")
ReturnT = TypeVar("ReturnT")

DEFAULT_TIMEOUT = 5.0


class Client(BoundToProcess):
    """Client of a cluster, through any of its nodes.

    Connections open on first use. Threads may share a client, and a forked child may go on using it
    with connections of its own.

    Every method takes ``timeout`` in seconds, None for no limit; the default is the client's. It
    holds for each request of a method, of which there is one, except where the method says more.
    Within it the client retries, on other nodes too, and a write is still applied at most once.

    Every operation is linearizable: it sees all writes acknowledged before it began. A read with
    ``read="leader-lease"`` saves the quorum round trip, and is linearizable only while clock drift
    stays within the bounds that the README states.

    Besides the errors listed with it, every method may raise:

    - ``NoNodeReached``: no node accepted a connection or replied before the deadline.
    - ``ClientConnectFailed``: the nodes belong to another cluster, or no socket can be opened.
    - ``RequestTimeout``: the deadline passed; nothing was changed.
    - ``Overloaded``: the node has too many requests; nothing was changed.
    - ``ClientClosed``: the client is closed, or was closed meanwhile.
    - ``RPCCallFailed``: a node sent a reply that the client does not understand.
    - ``InvalidRequest``: ``timeout`` is not positive.
    """

    def __init__(
        self,
        target: str | Iterable[str] | None = None,
        *,
        timeout: float | None = DEFAULT_TIMEOUT,
        follow_leader: bool = True,
    ) -> None:
        """Name the cluster.

        ``target`` is addresses, a ``skiff://`` URL, or None for the environment variable SKIFF_URL.
        ``timeout`` is the default for all methods, in seconds, None for no limit. With
        ``follow_leader=False``, requests go to the named nodes only.

        Raises:
            MissingClusterConfig: neither ``target`` nor SKIFF_URL has an address.
            InvalidAddress: an address does not parse as ``host`` or ``host:port``.
            InvalidRequest: ``timeout`` is not positive.
        """
        check_timeout(timeout)
        self._timeout = timeout
        self._caller = Caller(endpoints_of(target), follow_leader=follow_leader)

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

    # --- values

    def insert(
        self,
        key: str,
        value: object,
        *,
        if_revision: int | None = None,
        timeout: Timeout = CLIENT_DEFAULT,
    ) -> int:
        """Write a value; return the revision of the write.

        With ``if_revision``, write only if the key has this revision; 0 requires its absence.

        Raises:
            RevisionMismatch: the key has another revision; nothing was written.
            InvalidRequest: the key or ``if_revision`` is invalid, or the value is too large.
            SerializeFailed: MessagePack cannot encode the value.
            StorageFull: the disks of a majority are full, or the quota is reached.
            OutcomeUnknown: the deadline passed; the value may have been written, or may yet be.
            RequestTimeout: the deadline passed; nothing was written.
        """
        return self._run(methods.insert(key, value, if_revision), timeout)

    @overload
    def get(
        self, key: str, type: type[ValueT], *, read: Reading = ..., timeout: Timeout = ...
    ) -> ValueT | None: ...
    @overload
    def get(
        self,
        key: str,
        type: type[ValueT],
        *,
        default: ValueT,
        read: Reading = ...,
        timeout: Timeout = ...,
    ) -> ValueT: ...
    @overload
    def get(
        self,
        key: str,
        type: Any = ...,
        *,
        default: Any = ...,
        read: Reading = ...,
        timeout: Timeout = ...,
    ) -> Any: ...
    def get(
        self,
        key: str,
        type: Any = Any,
        *,
        default: Any = None,
        read: Reading = "linearizable",
        timeout: Timeout = CLIENT_DEFAULT,
    ) -> Any:
        """Return a key's value as ``type``, or ``default`` if the key is absent.

        ``read`` is "linearizable", or "leader-lease" for a read by the leader's lease.

        Raises:
            InvalidRequest: the key or ``read`` is invalid.
            DeserializeFailed: the value is not of this type.
            RequestTimeout: the deadline passed before a majority confirmed the read.
        """
        return self._run(methods.get(key, type, default, read), timeout)

    @overload
    def get_entry(
        self, key: str, type: type[ValueT], *, read: Reading = ..., timeout: Timeout = ...
    ) -> Entry[ValueT] | None: ...
    @overload
    def get_entry(
        self, key: str, type: Any = ..., *, read: Reading = ..., timeout: Timeout = ...
    ) -> Entry[Any] | None: ...
    def get_entry(
        self,
        key: str,
        type: Any = Any,
        *,
        read: Reading = "linearizable",
        timeout: Timeout = CLIENT_DEFAULT,
    ) -> Entry[Any] | None:
        """Return a key's value with its revisions and version, or None if it is absent.

        Raises:
            InvalidRequest: the key or ``read`` is invalid.
            DeserializeFailed: the value is not of this type.
            RequestTimeout: the deadline passed before a majority confirmed the read.
        """
        return self._run(methods.get_entry(key, type, read), timeout)

    def remove(
        self,
        key: str,
        *,
        if_revision: int | None = None,
        timeout: Timeout = CLIENT_DEFAULT,
    ) -> bool:
        """Remove a key; return whether it existed.

        With ``if_revision``, remove it only if it has this revision.

        Raises:
            RevisionMismatch: the key's revision is not ``if_revision``; nothing was removed.
            InvalidRequest: the key or ``if_revision`` is invalid.
            OutcomeUnknown: the deadline passed; the key may have been removed, or may yet be.
            RequestTimeout: the deadline passed; nothing was removed.
        """
        return self._run(methods.remove(key, if_revision), timeout)

    def pipeline(self, *, timeout: Timeout = CLIENT_DEFAULT) -> Pipeline:
        """Return a pipeline: it collects operations and sends them in as few requests as possible.

        Writes take effect in the order in which they were added, each exactly once, and a read
        sees the writes before it; they are not atomic. ``timeout`` holds for all of them together.
        """
        seconds = self._seconds(timeout)
        return Pipeline(lambda operations: self._caller.pipeline(operations, seconds))

    # --- names

    def list_keys(
        self,
        prefix: str = "",
        *,
        limit: int | None = None,
        start_after: str | None = None,
        read: Reading = "linearizable",
        timeout: Timeout = CLIENT_DEFAULT,
    ) -> list[str]:
        """Return the keys under a prefix, sorted; ``""`` and ``"/"`` mean all keys.

        At most ``limit`` keys, None for all, that sort after ``start_after``. Keys are read in
        pages of up to 10,000, each with a request, and so at a revision, of its own.

        Raises:
            InvalidRequest: the prefix, ``limit``, ``start_after`` or ``read`` is invalid.
            RequestTimeout: the deadline passed before a majority confirmed the read.
        """
        return self._run(methods.list_keys(prefix, limit, start_after, read), timeout)

    def get_prefixes(
        self,
        prefix: str = "",
        *,
        read: Reading = "linearizable",
        timeout: Timeout = CLIENT_DEFAULT,
    ) -> list[str]:
        """Return every path under a prefix that directly holds a key, sorted: ``["a", "a/b"]``.

        Paths are read in pages of up to 10,000, each with a request of its own.

        Raises:
            InvalidRequest: the prefix or ``read`` is invalid.
            RequestTimeout: the deadline passed before a majority confirmed the read.
        """
        return self._run(methods.get_prefixes(prefix, read), timeout)

    def watch(
        self, prefix: str = "", *, type: Any = Any, timeout: Timeout = CLIENT_DEFAULT
    ) -> Subscriber:
        """Subscribe to the changes of the keys under a prefix.

        Every change made after this returned is delivered, in order of revision, with its value as
        ``type``. ``timeout`` is for the subscription to be confirmed.

        Raises:
            InvalidRequest: the prefix is invalid, or msgspec does not support the type.
            RequestTimeout: no node confirmed the subscription before the deadline.
        """
        check_prefix(prefix)
        check_type(type)
        return Subscriber(self._caller, encode_prefix(prefix), type, self._seconds(timeout))

    # --- the cluster

    def members(self, *, timeout: Timeout = CLIENT_DEFAULT) -> list[Member]:
        """Return the members of the cluster by the last committed membership that the node knows.

        Raises:
            RequestTimeout: no node answered before the deadline.
        """
        return list(self.status(timeout=timeout).members)

    def add_member(self, address: str, *, timeout: Timeout = CLIENT_DEFAULT) -> None:
        """Add a node that was started on standby; return when it is a voter.

        Raises:
            InvalidAddress: the address does not parse as ``host`` or ``host:port``.
            PeerConnectFailed: no standby node was found at the address before the deadline.
            OutcomeUnknown: the node was not a voter at the deadline; it may yet become one.
            RequestTimeout: the deadline passed; nothing was changed.
        """
        self._run(methods.add_member(address), timeout)

    def remove_node(
        self, node: uuid.UUID | str, *, force: bool = False, timeout: Timeout = CLIENT_DEFAULT
    ) -> uuid.UUID:
        """Remove a node from the cluster; return its id when the removal is committed.

        ``node`` is an id, a prefix of an id of at least four digits, or an address. Anything but
        a full id takes a request of its own, to read the members.

        Raises:
            PeerNotFound: no member has this id or address.
            InvalidRequest: the node is the last voter, several ids have this prefix, or ``node`` is
                neither an id nor an address.
            UnsafeMembershipChange: the voters that answer would not be a majority of the remaining
                ones; ``force`` overrides this, and may leave a cluster that accepts no writes.
            OutcomeUnknown: the deadline passed; the node may have been removed, or may yet be.
            RequestTimeout: the deadline passed; nothing was changed.
        """
        return self._run(methods.remove_node(node, force=force), timeout)

    def transfer_leadership(
        self, to: uuid.UUID | str | None = None, *, timeout: Timeout = CLIENT_DEFAULT
    ) -> uuid.UUID:
        """Transfer leadership to a voter, or to any other; return the leader's id afterwards.

        No write is lost; writes pause for a few round trips. ``to`` is an id, a prefix of an id of
        at least four digits, or an address; None lets the leader choose. Anything but a full id
        takes a request of its own, to read the members.

        Raises:
            PeerNotFound: no member has this id or address.
            InvalidRequest: the node is a learner, there is no other voter, several ids have this
                prefix, or ``to`` is neither an id nor an address.
            OutcomeUnknown: leadership had not moved at the deadline; it may yet move.
            RequestTimeout: the deadline passed; nothing was changed.
        """
        return self._run(methods.transfer_leadership(to), timeout)

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
        """
        route = self._caller.route
        caller = Caller(
            route.all,
            follow_leader=False,
            cluster=route.cluster,
            transport=self._caller.transport,
        )
        return back_up(caller, path, self._seconds(timeout), progress)

    def status(self, *, timeout: Timeout = CLIENT_DEFAULT) -> NodeStatus:
        """Return the role, term, log and members of the node that answers, as it reports them.

        Raises:
            RequestTimeout: no node answered before the deadline.
        """
        return self._run(methods.status(), timeout)

    # ---

    def _seconds(self, timeout: Timeout) -> float | None:
        if timeout is CLIENT_DEFAULT:
            return self._timeout
        check_timeout(timeout)
        return timeout

    def _run(self, method: Method[ReturnT], timeout: Timeout) -> ReturnT:
        """Return the result of a method; the timeout holds for each of its requests."""
        seconds = self._seconds(timeout)
        try:
            asked = next(method)
            while True:
                if isinstance(asked, Order):
                    outcome: Outcome = self._caller.write(asked.command, seconds)
                else:
                    outcome = self._caller.call(asked.operation, seconds, writes=asked.writes)
                asked = method.send(outcome)
        except StopIteration as stop:
            result: ReturnT = stop.value
            return result
