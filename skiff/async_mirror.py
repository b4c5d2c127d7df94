"""AsyncMirror: a local mapping of the keys under a prefix, kept current by a task."""

import asyncio
import weakref
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self, TypeVar

from protocol.deadlines import deadline_of
from skiff.arguments import check_awaited, check_wait
from skiff.async_subscriber import FOREIGN_LOOP, AsyncSubscriber
from skiff.descriptions import described_by
from skiff.errors import Compacted, RequestTimeout, SkiffError
from skiff.mirror import PASSING, Mirror
from skiff.mirroring import RETRY_SECONDS, MirrorMapping, MirrorState, log

ValueT = TypeVar("ValueT")


@described_by(Mirror)
class AsyncMirror(MirrorMapping[ValueT]):
    """A local, read-only mapping of the keys under a prefix; ``Mirror`` for an event loop.

    Reading it makes no request and awaits nothing, in any thread; callbacks are plain functions,
    called in the event loop.
    """

    def __init__(self, state: MirrorState, synced: asyncio.Event, feeder: "AsyncFeeder") -> None:
        """Show a state that a feeder keeps current."""
        super().__init__(state)
        self.synced = synced
        self._feeder = feeder
        weakref.finalize(self, feeder.drop).atexit = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def wait_for(self, revision: int, timeout: float | None = None) -> None:
        """Wait until a revision is shown; see ``Mirror.wait_for``."""
        check_awaited(revision)
        check_wait(timeout)
        self._feeder.check_place()
        reached = asyncio.Event()
        if not self._state.wait(revision, reached):
            return
        try:
            deadline = deadline_of(timeout, asyncio.get_running_loop().time())
            async with asyncio.timeout_at(None if timeout is None else deadline):
                await reached.wait()
        except TimeoutError:
            raise RequestTimeout(f"revision {revision} was not shown in time") from None
        finally:
            self._state.forget(reached)
        self._state.check_reached(revision)

    async def aclose(self) -> None:
        """End the mirror; the last state stays readable.

        Raises:
            SkiffError: it belongs to another event loop, which still runs.
        """
        await self._feeder.aclose()


class AsyncFeeder:
    """Feeds a mirror's state from a subscriber, by a task of its own."""

    def __init__(
        self,
        state: MirrorState,
        subscriber: AsyncSubscriber,
        begin: Callable[[], Awaitable[AsyncSubscriber]],
    ) -> None:
        """Take a subscriber that begins with entries; ``begin`` makes another one."""
        self._state = state
        self._subscriber = subscriber
        self._begin = begin
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Take the entries that are there, then start the task.

        Raises:
            SkiffError: the subscriber has ended.
        """
        try:
            while not self._state.is_synced:
                await self._take()
        except BaseException:
            self._subscriber.close()
            raise
        self._task = asyncio.create_task(self._work(), name="skiff mirror")

    def drop(self) -> None:
        """End the task of a mirror that is dropped, in any thread."""
        if self._state.is_here and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._stop)

    async def aclose(self) -> None:
        """End the task.

        Raises:
            SkiffError: it belongs to another event loop, which still runs.
        """
        if not self._state.is_here:
            return
        if not self._loop.is_closed() and asyncio.get_running_loop() is not self._loop:
            raise SkiffError(FOREIGN_LOOP)
        self._stop()

    def check_place(self) -> None:
        """Check that this is the process and the event loop that feed the mirror.

        Raises:
            SkiffError: it is not.
        """
        self._state.check_process()
        if asyncio.get_running_loop() is not self._loop:
            raise SkiffError(FOREIGN_LOOP)

    def _stop(self) -> None:
        self._state.end(None)
        self._subscriber.close()
        if self._task is not None and not self._loop.is_closed():
            self._task.cancel()

    # --- in the task

    async def _work(self) -> None:
        try:
            while not self._state.is_closed:
                await self._advance()
        except SkiffError as error:
            self._state.end(error)
        finally:
            self._state.end(None)
            self._subscriber.close()

    async def _advance(self) -> None:
        """Take the next change; after the loss of changes, begin anew."""
        try:
            await self._take()
        except Compacted as loss:
            log.warning("the mirror of %r begins anew: %s", self._state.prefix, loss)
            self._state.begin_anew()
            self._subscriber.close()
            await self._begin_anew()
        except PASSING:
            await asyncio.sleep(RETRY_SECONDS)

    async def _take(self) -> None:
        change = await self._subscriber.advance()
        self._state.take(change, self._subscriber.revision)

    async def _begin_anew(self) -> None:
        while not self._state.is_closed:
            await asyncio.sleep(RETRY_SECONDS)
            try:
                self._subscriber = await self._begin()
            except PASSING:
                continue
            return
