"""Reply budget: the bytes that wait at one gateway until its clients have read them.

They are outcomes that belong to replies which are not complete yet, and replies that ZeroMQ has
not handed to the operating system. Small replies are counted together, once they make up
``COUNTED_BYTES`` on a connection, so that they cost nothing more to send.
"""

from protocol.gateway.pending import Call
from protocol.messages.client import Failed, FailureCode

REPLY_BYTES_MAX = 16 << 20  # of what was read for one reply; clients take frames of 32 MiB
CONNECTION_BYTES_MAX = 16 << 20  # that wait for one connection
TOTAL_BYTES_MAX = 128 << 20  # that wait for all of them; beyond, each has ``COUNTED_BYTES`` more
UNREAD_SECONDS_MAX = 1.0  # after which what refuses a client is not sent to it either
COUNTED_BYTES = 64 << 10
SMALL_BYTES = 8 << 10  # of a reply that is not counted by itself
SLIGHT_BYTES = 1 << 10  # of a call's outcomes that are not counted at all
CONNECTIONS_NOTED_MAX = 4096  # with small replies that are not counted yet

TOO_LARGE = Failed(
    FailureCode.TOO_LARGE,
    f"the reply would be larger than {REPLY_BYTES_MAX >> 20} MiB: ask for fewer keys at once",
)
NOT_READ = Failed(FailureCode.OVERLOADED, "too many replies wait to be read")


class ReplyBudget:
    """What waits for each connection, and in all."""

    def __init__(self) -> None:
        self._total = 0
        self._waiting: dict[bytes, int] = {}  # by connection, only those for which something does
        self._read_at: dict[bytes, float] = {}  # when it last proved to read what waits for it
        self._full: set[bytes] = set()  # connections that were refused what was read for them
        self._uncounted: dict[bytes, int] = {}  # small replies sent since the last counted one

    @property
    def is_untouched(self) -> bool:
        """Whether nothing waits that is counted, so that there is room for everything."""
        return not self._waiting

    def has_room(self, connection: bytes, size: int = 0) -> bool:
        """Return whether so many bytes more may wait for a connection."""
        limit = CONNECTION_BYTES_MAX if self._total + size <= TOTAL_BYTES_MAX else COUNTED_BYTES
        return self._waiting.get(connection, 0) + size <= limit

    def refusal_of_read(self, call: Call) -> Failed | None:
        """Return why nothing more is to be read for a call, if so: it would be read in vain."""
        if call.overflows:
            return TOO_LARGE
        connection = call.client[0]
        return None if connection not in self._full and self.has_room(connection) else NOT_READ

    def admit(self, call: Call, size: int) -> Failed | None:
        """Let an outcome of so many bytes wait in its call, or return what to answer instead."""
        before, after = call.outcome_bytes, call.outcome_bytes + size
        if after > SLIGHT_BYTES:
            if after > REPLY_BYTES_MAX:
                call.overflows = True
                return TOO_LARGE
            counts_anew = after if before <= SLIGHT_BYTES else size
            if not self._admit(call.client[0], counts_anew):
                return NOT_READ
        call.outcome_bytes = after
        return None

    def end_call(self, call: Call) -> None:
        """Count a call's outcomes no more: it is to be encoded and sent."""
        if call.outcome_bytes > SLIGHT_BYTES:
            self.release(call.client[0], call.outcome_bytes)

    def begin_reply(self, connection: bytes, size: int, now: float) -> int | None:
        """Return for how many bytes to call ``end_reply`` when ZeroMQ has let go of this reply.

        That is 0 for a reply whose end need not be noticed, and None for one that must not be
        sent, because the client reads none.
        """
        if self._waiting and not self._reads(connection, now):
            return None
        if size < SMALL_BYTES:
            size += self._uncounted.get(connection, 0)
            if size < COUNTED_BYTES:
                self._note_uncounted(connection, size)
                return 0
        self._uncounted.pop(connection, None)
        self._hold(connection, size)
        self._read_at.setdefault(connection, now)
        return size

    def end_reply(self, connection: bytes, size: int, now: float) -> None:
        """Count a reply no more: it was handed to the operating system, or is gone."""
        self.release(connection, size)
        if connection in self._waiting:
            self._read_at[connection] = now
        else:
            self._read_at.pop(connection, None)

    def release(self, connection: bytes, size: int) -> None:
        """Count bytes no more that waited for a connection."""
        self._total -= size
        self._full.discard(connection)
        left = self._waiting[connection] - size
        if left:
            self._waiting[connection] = left
        else:
            del self._waiting[connection]

    def _reads(self, connection: bytes, now: float) -> bool:
        """Whether a client seems to read, or at least little waits for it."""
        if self.has_room(connection):
            return True
        is_slow = now - self._read_at.get(connection, now) > UNREAD_SECONDS_MAX
        return not is_slow and self._waiting.get(connection, 0) <= 2 * CONNECTION_BYTES_MAX

    def _admit(self, connection: bytes, size: int) -> bool:
        if not self.has_room(connection, size):
            if connection in self._waiting:
                self._full.add(connection)
            return False
        self._hold(connection, size)
        return True

    def _hold(self, connection: bytes, size: int) -> None:
        self._total += size
        self._waiting[connection] = self._waiting.get(connection, 0) + size

    def _note_uncounted(self, connection: bytes, size: int) -> None:
        if len(self._uncounted) >= CONNECTIONS_NOTED_MAX:
            self._uncounted.clear()  # most of those connections are gone
        self._uncounted[connection] = size
