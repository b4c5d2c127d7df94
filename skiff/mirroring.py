"""Mirroring: the state of a mirror, and its mapping interface, of blocking and asyncio clients.

The state is held by the thread or the task that feeds it; the mapping is held by the program alone,
so that a mirror that is dropped ends.
"""

import logging
import os
import threading
from collections.abc import Callable, ItemsView, Iterator, Mapping, ValuesView
from copy import copy
from typing import Any, Protocol, TypeVar

from protocol.client.mirror import Mirrored, MirroredKeys
from protocol.state.commands import Event as Change
from skiff.bound import BoundToProcess
from skiff.errors import ClientClosed, DeserializeFailed, SkiffError, StreamClosed
from skiff.functions import check_function, check_result
from skiff.records import Event
from skiff.subscription import event_of
from skiff.values import decode_value

ValueT = TypeVar("ValueT")

BEGIN_SECONDS = 5.0  # for each attempt to begin anew
RETRY_SECONDS = 0.25  # between two of them

log = logging.getLogger("skiff.mirror")

Callback = Callable[[Event[Any]], object]


class Signal(Protocol):
    """An event of ``threading`` or of ``asyncio``."""

    def set(self) -> None:
        """Wake the waiters."""

    def clear(self) -> None:
        """Make later waiters wait."""


class MirrorState:
    """The entries of a mirror, its waiters and callbacks. Threads may share it."""

    def __init__(
        self,
        prefix: str,
        type_: Any,
        synced: Signal,
        logged_errors: type[BaseException] = Exception,
    ) -> None:
        """Begin without entries; ``logged_errors`` of its callbacks are logged."""
        self.prefix = prefix
        self.type = type_
        self.failure: SkiffError | None = None
        self.is_closed = False
        self.synced = synced
        self._pid = os.getpid()
        self._lock = threading.RLock()  # reentrant for signal handlers and finalizers
        self._keys: MirroredKeys[Signal] = MirroredKeys()
        self._logged_errors = logged_errors
        self._callbacks: dict[object, Callback] = {}

    @property
    def revision(self) -> int:
        """The newest revision of which all changes were applied."""
        return self._keys.revision

    @property
    def is_synced(self) -> bool:
        """Whether the entries are there, and a watch follows them."""
        return self._keys.is_synced

    @property
    def is_here(self) -> bool:
        """Whether this is the process that feeds the mirror, and no fork of it."""
        return self._pid == os.getpid()

    # --- by the thread or the task that feeds it

    def take(self, change: Change | None, revision: int) -> None:
        """Apply the watch's changes up to a revision, wake waiters, and call the callbacks."""
        with self._lock:
            was_synced = self._keys.is_synced
            applied = self._keys.take(change, revision)
            due = self._keys.take_due()
            callbacks = tuple(self._callbacks.items())
        if self._keys.is_synced and not was_synced:
            self.synced.set()
        for waiter in due:
            waiter.set()
        for each in applied if callbacks else ():
            self._notify(each, callbacks)

    def begin_anew(self) -> None:
        """Expect the entries of another watch: the last one has lost changes for good."""
        self.synced.clear()
        with self._lock:
            self._keys.begin_anew()

    def end(self, failure: SkiffError | None) -> None:
        """Apply no more changes, because of a failure or as the mirror was closed."""
        with self._lock:
            if failure is not None and not self.is_closed and not isinstance(failure, ClientClosed):
                self.failure = failure
            self.is_closed = True
            waiters = self._keys.take_waiters()
        for waiter in waiters:
            waiter.set()

    def _notify(self, change: Change, callbacks: tuple[tuple[object, Callback], ...]) -> None:
        """Call the callbacks that have not been ended by an earlier call, nor the mirror closed."""
        try:
            event = event_of(change, self.type)
        except DeserializeFailed as error:
            log.error("a mirror's callbacks were not called: %s", error)
            return
        for token, callback in callbacks:
            if self.is_closed or token not in self._callbacks:
                continue
            try:
                check_result(callback(event))
            except self._logged_errors:
                log.exception("a mirror's callback failed at %r", change.key)

    # --- by its readers

    def check_process(self) -> None:
        """Check that this is the process that feeds the mirror.

        Raises:
            StreamClosed: it is a fork of that process.
        """
        if not self.is_here:
            raise StreamClosed("the mirror belongs to the parent process of this fork")

    def find(self, key: object) -> Mirrored | None:
        """Return the stored value of a key, None if it is absent."""
        self.check_process()
        with self._lock:
            return self._keys.entries.get(key) if isinstance(key, str) else None

    def keys(self) -> tuple[str, ...]:
        """Return the keys of the present revision, in order."""
        self.check_process()
        with self._lock:
            return tuple(self._keys.sorted_keys)

    def items(self) -> list[tuple[str, Mirrored]]:
        """Return the keys of the present revision with their stored values, in order."""
        self.check_process()
        with self._lock:
            return [(key, self._keys.entries[key]) for key in self._keys.sorted_keys]

    def count(self) -> int:
        """Return the number of keys."""
        self.check_process()
        return len(self._keys.entries)

    def wait(self, revision: int, waiter: Signal) -> bool:
        """Add a waiter for a revision; return False if that was applied already.

        Raises:
            SkiffError: the mirror has ended before.
        """
        with self._lock:
            is_ahead = self._keys.revision < revision
            if is_ahead and self.is_closed:
                raise self.ending()
            return self._keys.wait(revision, waiter)

    def check_reached(self, revision: int) -> None:
        """Check that a revision was applied.

        Raises:
            SkiffError: the mirror has ended before.
        """
        if self._keys.revision < revision:
            raise self.ending()

    def forget(self, waiter: Signal) -> None:
        """Remove a waiter, if it is still there."""
        with self._lock:
            self._keys.forget(waiter)

    def ending(self) -> SkiffError:
        """Return a new error of a mirror that has ended: a raised one keeps its callers' frames."""
        return copy(self.failure) or ClientClosed("the mirror is closed")

    def decode(self, key: str, stored: Mirrored) -> Any:
        """Return a stored value as the mirror's type."""
        return decode_value(key, stored.value, self.type)

    # --- callbacks

    def add_callback(self, function: Callback) -> Callable[[], None]:
        """Call a function with each later event, until the returned one is called."""
        self.check_process()
        token = object()
        with self._lock:
            self._callbacks[token] = function
        return lambda: self._remove_callback(token)

    def _remove_callback(self, token: object) -> None:
        with self._lock:
            self._callbacks.pop(token, None)


class MirrorMapping(BoundToProcess, Mapping[str, ValueT]):
    """The keys of a mirror with their values, in order; no use of it makes a request.

    Values are decoded at each read, so that what a reader does to one concerns no other. A key
    whose value is not of the mirror's type is there, and reading it raises ``DeserializeFailed``.
    Iteration, ``items`` and ``values`` show one revision; ``dict(it)`` reads each value on its own,
    so copy it by ``dict(it.items())``.
    """

    def __init__(self, state: MirrorState) -> None:
        self._state = state

    def __repr__(self) -> str:
        ended = ", closed" if self.closed else ""
        name = type(self).__name__
        return f"<{name} of {self._state.prefix!r} at revision {self.revision}{ended}>"

    @property
    def revision(self) -> int:
        """The revision that it shows: the newest one of which all changes were applied.

        It also advances, within half a second, with changes of other keys.
        """
        return self._state.revision

    @property
    def closed(self) -> bool:
        """Whether it has ended: it, or its client, was closed, or ``failure`` has ended it."""
        return self._state.is_closed

    @property
    def failure(self) -> SkiffError | None:
        """The error that has ended it, None if there was none."""
        return self._state.failure

    def revision_of(self, key: str) -> int:
        """Return the revision of a key's last write, 0 if it is absent, as for ``if_revision``."""
        found = self._state.find(key)
        return 0 if found is None else found.revision

    def on_change(self, function: Callback) -> Callable[[], None]:
        """Call a function with each event after it was applied; return what ends that.

        The mirror calls it, one event at a time and in order, and goes on when it has returned: it
        should neither block nor wait for a later revision. An exception that it raises is logged,
        as is a value that is not of the mirror's type, in place of the call. After the loss of
        changes, the events are the differences: one insert for several, and ``remove`` also for an
        expiry.

        Raises:
            InvalidRequest: it is no function, or a coroutine's.
        """
        check_function(function)
        return self._state.add_callback(function)

    def __getitem__(self, key: str) -> ValueT:
        found = self._state.find(key)
        if found is None:
            raise KeyError(key)
        value: ValueT = self._state.decode(key, found)
        return value

    def __contains__(self, key: object) -> bool:
        return self._state.find(key) is not None

    def __iter__(self) -> Iterator[str]:
        return iter(self._state.keys())

    def __len__(self) -> int:
        return self._state.count()

    def items(self) -> ItemsView[str, ValueT]:
        """Return a view of the keys with their values; iterating it shows one revision."""
        return _Items(self)

    def values(self) -> ValuesView[ValueT]:
        """Return a view of the values; iterating it shows one revision."""
        return _Values(self)

    def _pairs(self) -> Iterator[tuple[str, ValueT]]:
        for key, stored in self._state.items():
            yield key, self._state.decode(key, stored)


class _Items(ItemsView[str, ValueT]):
    _mapping: MirrorMapping[ValueT]

    def __iter__(self) -> Iterator[tuple[str, ValueT]]:
        return self._mapping._pairs()  # noqa: SLF001 - a view of this module's class


class _Values(ValuesView[ValueT]):
    _mapping: MirrorMapping[ValueT]

    def __contains__(self, value: object) -> bool:
        return any(each is value or each == value for each in self)

    def __iter__(self) -> Iterator[ValueT]:
        return (value for _, value in self._mapping._pairs())  # noqa: SLF001 - likewise
