"""Mirror: a local mapping of the keys under a prefix, kept current by a thread."""

import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self, TypeVar

from skiff.arguments import check_awaited, check_wait
from skiff.errors import (
    ClientConnectFailed,
    Compacted,
    InvalidRequest,
    Overloaded,
    RequestTimeout,
    SkiffError,
    StreamClosed,
)
from skiff.mirroring import RETRY_SECONDS, MirrorMapping, MirrorState, log
from skiff.subscriber import Subscriber
from skiff.transport import CLOSE_SECONDS

ValueT = TypeVar("ValueT")

PASSING = (ClientConnectFailed, Overloaded, RequestTimeout, StreamClosed)  # errors to try again


class Mirror(MirrorMapping[ValueT]):
    """A local, read-only mapping of the keys under a prefix to their values, kept current.

    It always shows the whole state of one revision, which only advances. It heals itself as a watch
    does; after the loss of changes (``Compacted``) it begins anew with the present entries, and
    ``synced`` is cleared meanwhile. It ends with ``close`` or its client, or by an error that no
    retry can cure, ``failure``. The last state stays readable. Threads may share it; in a forked
    child, using it raises ``StreamClosed``. A mirror that is dropped ends, too, unless a function
    given to ``on_change`` refers to it.
    """

    def __init__(self, state: MirrorState, synced: threading.Event, feeder: "Feeder") -> None:
        """Show a state that a feeder keeps current."""
        super().__init__(state)
        self.synced = synced
        self._feeder = feeder
        weakref.finalize(self, feeder.stop)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def wait_for(self, revision: int, timeout: float | None = None) -> None:
        """Wait until a revision is shown, such as one that ``insert`` returned.

        ``timeout`` is in seconds, None for no limit. A revision that changed no key of the mirror
        takes up to half a second more.

        Raises:
            RequestTimeout: the revision was not shown in time.
            ClientClosed: the mirror or its client was closed before.
            SkiffError: likewise, it has failed; the error is ``failure``.
            InvalidRequest: the revision or the timeout is invalid, or a callback of this mirror
                would wait: the mirror advances only once the callback has returned.
        """
        check_awaited(revision)
        check_wait(timeout)
        self._state.check_process()
        if self._feeder.runs_here and revision > self.revision:
            raise InvalidRequest("a mirror's callback cannot wait for its own mirror to advance")
        reached = threading.Event()
        if not self._state.wait(revision, reached):
            return
        try:
            if not reached.wait(None if timeout is None else min(timeout, threading.TIMEOUT_MAX)):
                raise RequestTimeout(f"revision {revision} was not shown in time")
        finally:
            self._state.forget(reached)
        self._state.check_reached(revision)

    def close(self) -> None:
        """End the mirror, within a second; the last state stays readable."""
        self._feeder.close()


class Feeder:
    """Feeds a mirror's state from a subscriber, by a thread of its own."""

    def __init__(
        self,
        state: MirrorState,
        subscriber: Subscriber,
        begin: Callable[[], Subscriber],
        disconnect: Callable[[], None],
    ) -> None:
        """Take a subscriber that begins with entries; ``begin`` makes another one.

        ``disconnect`` the thread at its end.
        """
        self._state = state
        self._subscriber = subscriber
        self._begin = begin
        self._disconnect = disconnect
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, name="skiff mirror", daemon=True)

    @property
    def runs_here(self) -> bool:
        """Whether the current thread is the one that feeds."""
        return threading.current_thread() is self._thread

    def start(self) -> None:
        """Take the entries that are there, then start the thread.

        Raises:
            SkiffError: the subscriber has ended.
        """
        try:
            while not self._state.is_synced:
                self._take()
            self._thread.start()
        except BaseException:
            self._subscriber.close()
            raise

    def stop(self) -> None:
        """End the thread soon; in a forked child, it is the parent's and goes on."""
        if self._state.is_here:
            self._state.end(None)
            self._stopped.set()
            self._subscriber.abandon()

    def close(self) -> None:
        """End the thread, and wait for that."""
        self.stop()
        if self._state.is_here and not self.runs_here:
            self._thread.join(CLOSE_SECONDS)

    # --- in the thread

    def _work(self) -> None:
        try:
            while not self._stopped.is_set():
                self._advance()
        except SkiffError as error:
            self._state.end(error)
        finally:
            self._state.end(None)
            self._subscriber.close()
            with suppress(SkiffError):
                self._disconnect()

    def _advance(self) -> None:
        """Take the next change; after the loss of changes, begin anew."""
        try:
            self._take()
        except Compacted as loss:
            log.warning("the mirror of %r begins anew: %s", self._state.prefix, loss)
            self._state.begin_anew()
            self._subscriber.close()
            self._begin_anew()
        except PASSING:
            self._stopped.wait(RETRY_SECONDS)

    def _take(self) -> None:
        change = self._subscriber.advance()
        self._state.take(change, self._subscriber.revision)

    def _begin_anew(self) -> None:
        while not self._stopped.wait(RETRY_SECONDS):
            with suppress(*PASSING):
                self._subscriber = self._begin()
                return
