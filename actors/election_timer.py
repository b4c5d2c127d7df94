"""The clock of a node: tells the log replicator which deadline has passed."""

import random
import time

from actors.actor import ActorContext, run
from actors.sockets import Readable
from protocol.election_clock import ElectionClock
from protocol.wire import decode_for_timer, encode


class ElectionTimer:
    """Runs an election clock on real time and real chance."""

    def __init__(self, context: ActorContext) -> None:
        sockets = context.sockets
        self._inbox = sockets.inbox("timer")
        self._replicator = sockets.outbox("replicator")
        self._clock = ElectionClock(
            context.config.election_timeouts, time.monotonic(), random.random()
        )
        context.ready(b"")

    def timeout(self) -> float:
        """Return when the next deadline is."""
        return self._clock.next_deadline() - time.monotonic()

    def turn(self, readable: Readable) -> None:
        """Take in what the replicator says, then tell it what is due."""
        frames = list(self._inbox.drain_single())
        # Only now: no deadline may be counted from before the contact that puts it off.
        now = time.monotonic()
        for frame in frames:
            for state in decode_for_timer(frame):
                self._clock.update(state, now, random.random())
        due = self._clock.take_due(now, random.random())
        if due:
            self._replicator.send(encode(due))

    def stop(self) -> float:
        """Nothing is left to do."""
        return 0.0

    def close(self) -> None:
        """Nothing is held."""


if __name__ == "__main__":
    run("election_timer", ElectionTimer)
