"""Releases: requests that give up what a task holds, completed even if the task is cancelled."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

CLOSE_SECONDS = 1.0  # for requests whose tasks were cancelled, before their client is closed

ReturnT = TypeVar("ReturnT")


class Releases:
    """The requests in progress, each as a task of its own."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    async def finish(self, release: Coroutine[Any, Any, ReturnT]) -> ReturnT:
        """Return the result of a request, which goes on if the caller is cancelled.

        Else a task that is cancelled just as its block ends would send nothing, and what it held
        would be held until its lease ends.
        """
        task = asyncio.create_task(release, name="skiff release")
        self._tasks.add(task)
        task.add_done_callback(self._end)
        await asyncio.wait([task])
        return task.result()

    async def ended(self) -> None:
        """Wait for those whose callers were cancelled, ``CLOSE_SECONDS`` at most."""
        if self._tasks and next(iter(self._tasks)).get_loop() is asyncio.get_running_loop():
            await asyncio.wait(self._tasks, timeout=CLOSE_SECONDS)

    def _end(self, task: asyncio.Task[Any]) -> None:
        """Forget a request; its error counts as retrieved: a cancelled caller cannot take it."""
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()
