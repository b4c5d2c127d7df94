"""Storage: the storage writer of a simulated node, with the real core on a fallible disk."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from protocol.deadlines import NEVER
from protocol.space import SpaceLimits
from protocol.storage.outbox import StorageOutbox
from protocol.storage.writer import StorageWriter
from tests.simulation.actor import Actor
from tests.simulation.disk import DiskFailure

if TYPE_CHECKING:
    from tests.simulation.life import Life

DISK_RESERVE = 1000  # bytes
FORCED_SLOWNESS = 40  # factor of a sync's duration on a slow disk


class Storage(Actor):
    """Runs the turns of the storage core, and sends the results of each step before the next.

    A step that syncs ends when the disk has; until then, a crash may take back its writes.
    """

    name = "storage"

    def __init__(self, life: "Life") -> None:
        super().__init__(life)
        self._disk = life.node.disk
        self._judge = life.setting.judge
        limits, space = life.setting.options.limits, SpaceLimits(DISK_RESERVE)
        history = life.setting.options.history
        self.core = StorageWriter(self._disk, limits, self._pass, space, history)
        self._disk.finish_sync()
        self._steps: Iterator[StorageOutbox] | None = None
        self._written: StorageOutbox | None = None  # waits for the disk or for the process
        self._is_synced = False
        self._looks = False  # whether to check the disk's space
        self._judged = -1

    def _pass(self, _: str) -> None:
        """Crash the node at some steps of a snapshot's installation."""
        setting = self.life.setting
        if setting.lasting is None and self._random() < setting.options.step_crashes:
            raise DiskFailure

    def begin(self) -> None:
        """Send the recovered state to the other actors."""
        self._send(self.core.recover())

    def turn(self) -> None:
        """Continue the current turn, or start one with the messages that have arrived."""
        if self._written is not None:
            if not self._is_synced:
                return
            self._finish_step()
        if self._steps is None:
            if not self._has_arrivals():
                return
            self._looks = False
            self.core.look_at_space(self.life.node.disk_free)
            self.core.set_time(self._events.now)
            for message in self._take_inbox():
                self.core.step(message)
            self._steps = self.core.flush()
        self._go_on()

    def deadline(self) -> float:
        """Return the current time while committed entries are left to apply."""
        return self._events.now + self._turn_delay if self._has_arrivals() else NEVER

    def _has_arrivals(self) -> bool:
        if self._written is not None:
            return self._is_synced
        arrived = bool(self._inbox) or self._looks or self.core.has_work
        return self._steps is None and arrived

    def disk_recovers(self) -> None:
        """Finish the write that hung."""
        if self.life.alive and self._written is not None and not self._is_synced:
            self._end_sync()

    def look_at_space(self) -> None:
        """Check the disk's space in the next turn."""
        self._looks = True
        self.rouse()

    def _go_on(self) -> None:
        """Run the steps up to the next one that waits for the disk."""
        assert self._steps is not None
        try:
            for outbox in self._steps:
                self._written = outbox
                if self._disk.syncing:
                    self._await_disk()
                    return
                self._finish_step()
        except DiskFailure:
            self.life.setting.totals.failed_writes += 1
            self._events.note(self._place, "fails")
            self.life.node.crash()
            return
        self._steps = None

    def _await_disk(self) -> None:
        self._is_synced = False
        if not self.life.node.disk_hangs:
            delay = self.life.setting.options.sync_delay * (0.5 + self._random())
            self._events.after(delay * self.life.node.disk_slowness, self._sync_over)

    def _sync_over(self) -> None:
        if self.life.alive:
            if self.life.node.disk_hangs:
                return  # the disk began to hang during the write
            self._end_sync()

    def _end_sync(self) -> None:
        self._disk.finish_sync()
        self._is_synced = True
        self._events.note(self._place, "is synced")
        self.rouse()

    def _finish_step(self) -> None:
        outbox, self._written = self._written, None
        assert outbox is not None
        self._send(outbox)

    def _send(self, outbox: StorageOutbox) -> None:
        self._judge.storage_turn(self.life, self.core, outbox)
        if outbox.replicator:
            self._events.note(self._place, "says", outbox.replicator)
            self.life.post("storage replicator", self.life.replicator, outbox.replicator)
        if outbox.gateway:
            self._events.note(self._place, "tells", outbox.gateway)
            self.life.post("storage gateway", self.life.gateway, outbox.gateway)
