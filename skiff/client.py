"""The blocking client: every operation of the store as a method."""

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

ValueT = TypeVar("ValueT")
ReturnT = TypeVar("ReturnT")

DEFAULT_TIMEOUT = 5.0


class Client(BoundToProcess):
    """A client of a cluster, through any of its nodes.

    Connects when first used. May be shared by threads, and used on after a fork: the child makes
    connections of its own. Every method takes ``timeout``, the seconds within which it returns or
    raises, None for no limit; within it the client tries again, on other nodes too, and a write is
    still applied once at most.

    Every operation is linearizable: it sees all that was acknowledged before it began. With
    ``read="lease"``, a read is so only while clocks run as the README assumes, and costs less.
    """

    def __init__(
        self,
        target: str | Iterable[str] | None = None,
        *,
        timeout: float | None = DEFAULT_TIMEOUT,
        follow_leader: bool = True,
    ) -> None:
        """Name the cluster: addresses, a ``skiff://`` URL, or nothing for SKIFF_URL.

        With ``follow_leader`` off, the client speaks to the named nodes only.

        Raises:
            MissingClusterConfig: nothing names an address.
            InvalidAddress: what should be an address is none.
            InvalidRequest: the timeout is not positive.
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
        """Close all connections; calls, watches and backups that others still have end.

        They raise ``ClientClosed``, as does every later call. Returns after a second at the latest.
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
        """Write a value and return the revision of that write.

        ``if_revision`` is the revision that the key must have, 0 to require that it is absent.

        Raises:
            RevisionMismatch: the key has another revision; nothing was written.
            InvalidRequest: the key or ``if_revision`` is invalid, or the value is too large.
            SerializeFailed: MessagePack cannot carry the value.
            OutcomeUnknown: the deadline passed, and the value may have been written.
            RequestTimeout: the deadline passed, and nothing was written.
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
        """Return a key's value as the given type, or the default where there is no such key.

        Raises:
            InvalidRequest: the key or ``read`` is invalid.
            DeserializeFailed: the value is not of that type.
            RequestTimeout: no majority could be asked before the deadline.
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
        """Return a key's value with its revisions and version, or None.

        Raises:
            InvalidRequest: the key or ``read`` is invalid.
            DeserializeFailed: the value is not of that type.
            RequestTimeout: no majority could be asked before the deadline.
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

        Raises:
            RevisionMismatch: the key's revision is not ``if_revision``; nothing was removed.
            InvalidRequest: the key or ``if_revision`` is invalid.
            OutcomeUnknown: the deadline passed, and the key may have been removed.
            RequestTimeout: the deadline passed, and nothing was removed.
        """
        return self._run(methods.remove(key, if_revision), timeout)

    def pipeline(self, *, timeout: Timeout = CLIENT_DEFAULT) -> Pipeline:
        """Collect operations that leave together, in one request where that holds them.

        They take effect in the order in which they were added, each write exactly once, and are
        not atomic. ``timeout`` is for all of them.
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
        """Return the sorted keys that begin with a prefix; ``""`` and ``"/"`` mean all.

        Each page of up to 10,000 keys is read at one revision of its own.

        Raises:
            InvalidRequest: the prefix, ``limit``, ``start_after`` or ``read`` is invalid.
            RequestTimeout: no majority could be asked before the deadline.
        """
        return self._run(methods.list_keys(prefix, limit, start_after, read), timeout)

    def get_prefixes(
        self,
        prefix: str = "",
        *,
        read: Reading = "linearizable",
        timeout: Timeout = CLIENT_DEFAULT,
    ) -> list[str]:
        """Return every path that directly holds a key, sorted: ``["a", "a/b"]``.

        Raises:
            InvalidRequest: the prefix or ``read`` is invalid.
            RequestTimeout: no majority could be asked before the deadline.
        """
        return self._run(methods.get_prefixes(prefix, read), timeout)

    def watch(
        self, prefix: str = "", *, type: Any = Any, timeout: Timeout = CLIENT_DEFAULT
    ) -> Subscriber:
        """Subscribe to the changes of all keys that begin with a prefix.

        Every change that is made after this returns is delivered, in order of revision.

        Raises:
            InvalidRequest: the prefix is invalid.
            RequestTimeout: no node established the subscription in time.
        """
        check_prefix(prefix)
        return Subscriber(self._caller, encode_prefix(prefix), type, self._seconds(timeout))

    # --- the cluster

    def members(self, *, timeout: Timeout = CLIENT_DEFAULT) -> list[Member]:
        """Return the members of the cluster, as committed where the asked node knows it.

        Raises:
            RequestTimeout: no node answered before the deadline.
        """
        return list(self.status(timeout=timeout).members)

    def add_member(self, address: str, *, timeout: Timeout = CLIENT_DEFAULT) -> None:
        """Bring a node that was started on standby into the cluster; returns when it votes.

        Raises:
            InvalidAddress: the address is invalid.
            PeerConnectFailed: no node that could be added was found at the address in time.
            OutcomeUnknown: it does not vote yet; it still may, later.
        """
        self._run(methods.add_member(address), timeout)

    def remove_node(
        self, node: uuid.UUID | str, *, force: bool = False, timeout: Timeout = CLIENT_DEFAULT
    ) -> uuid.UUID:
        """Take a node out of the cluster; return its id when that is committed.

        ``node`` is the id, its beginning of at least four digits, or the node's address.

        Raises:
            PeerNotFound: no member has this id or address.
            InvalidRequest: it is the last voter, or several ids begin like this.
            UnsafeMembershipChange: the voters that answer would be no majority of those that are
                left; ``force`` tries it all the same, and may leave nothing that can be written.
        """
        return self._run(methods.remove_node(node, force=force), timeout)

    def transfer_leadership(
        self, to: uuid.UUID | str | None = None, *, timeout: Timeout = CLIENT_DEFAULT
    ) -> uuid.UUID:
        """Let this voter lead, or any other than the present leader; return who leads by then.

        Nothing is lost by it, and writes pause only for a few round trips. ``to`` is an id, its
        beginning of at least four digits, or an address.

        Raises:
            PeerNotFound: no member has this id or address.
            InvalidRequest: it has no vote yet, nobody else could lead, or several ids begin so.
            OutcomeUnknown: leadership has not moved by the deadline; it may yet.
        """
        return self._run(methods.transfer_leadership(to), timeout)

    def backup(
        self,
        path: str | PathLike[str] | Writable,
        *,
        progress: Progress | None = None,
        timeout: Timeout = CLIENT_DEFAULT,
    ) -> Backup:
        """Write the whole state, at one moment after this call began, to a new file.

        Taken from one node while it goes on serving, and read back before the file stands at
        its path. A binary stream may be given instead of a path; whatever is raised, what was
        written to it is then no backup. ``timeout`` is for each chunk of 256 KiB; ``progress`` is
        called after each with the rows so far and about how many there are. See
        ``skiff.restore``.

        Raises:
            StreamClosed: the node ended it: it restarted, nothing was read for long, or
                several other backups began there.
            OSError: the file cannot be written, or there is one already.
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
        """Return the role, term, log and members of the node that answers, by its own account.

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
        """Return the result of a method; each of its questions may take so long."""
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
