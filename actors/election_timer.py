"""Election timer: notifies the log replicator of passed deadlines."""

import random
import time

from actors.actor import ActorContext
from actors.port import Readable
from protocol.election_clock import ElectionClock
from protocol.wire import decode_for_timer, encode


class ElectionTimer:
    """Runs an election clock on real time, with random jitter."""

    def __init__(self, context: ActorContext) -> None:
        sockets = context.sockets
        self._inbox = sockets.inbox("timer")
        self._replicator = sockets.outbox("replicator")
        self._clock = ElectionClock(
            context.config.election_timeouts, time.monotonic(), random.random()
        )
        context.ready(b"")

    def timeout(self) -> float:
        """Return the seconds until the next deadline."""
        return self._clock.next_deadline() - time.monotonic()

    def turn(self, readable: Readable) -> None:
        """Process the replicator's clock states, then send it the deadlines that have passed."""
        frames = list(self._inbox.drain_single())
        # Read after the messages: a deadline must not count from before a contact that resets it.
        now = time.monotonic()
        for frame in frames:
            for state in decode_for_timer(frame):
                self._clock.update(state, now, random.random())
        due = self._clock.take_due(now, random.random())
        if due:
            self._replicator.send(encode(due))

    def stop(self) -> float:
        """Stop at once."""
        return 0.0

    def close(self) -> None:
        """Do nothing: there is nothing to release."""
