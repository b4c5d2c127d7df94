"""Reply budget: the bytes that a gateway holds until its clients have read them.

These are the outcomes of incomplete replies, and the replies that ZeroMQ has not yet handed to the
operating system. Small replies are counted together, once they add up to ``COUNTED_BYTES`` on a
connection, which keeps sending them cheap.
"""

from protocol.gateway.pending import Call
from protocol.messages.client import Failed, FailureCode

REPLY_BYTES_MAX = 16 << 20  # of outcomes in one reply; clients accept frames of 32 MiB
CONNECTION_BYTES_MAX = 16 << 20  # held for one connection
TOTAL_BYTES_MAX = 128 << 20  # held for all; beyond it, each connection still gets ``COUNTED_BYTES``
UNREAD_SECONDS_MAX = 1.0  # after which even refusals are no longer sent to a client
COUNTED_BYTES = 64 << 10
SMALL_BYTES = 8 << 10  # smaller replies are not counted one by one
SLIGHT_BYTES = 1 << 10  # smaller outcomes of a call are not counted at all
CONNECTIONS_NOTED_MAX = 4096  # with uncounted small replies

TOO_LARGE = Failed(
    FailureCode.TOO_LARGE,
    f"the reply would be larger than {REPLY_BYTES_MAX >> 20} MiB: ask for fewer keys at once",
)
NOT_READ = Failed(FailureCode.OVERLOADED, "too many replies are unread")


class ReplyBudget:
    """Bytes held for each connection and in total. Times are seconds of a steady clock."""

    def __init__(self) -> None:
        self._total = 0
        self._waiting: dict[bytes, int] = {}  # bytes by connection, without zeros
        self._read_at: dict[bytes, float] = {}  # when the client last proved to read
        self._full: set[bytes] = set()  # connections whose outcomes were refused
        self._uncounted: dict[bytes, int] = {}  # bytes of small replies since the last counted one

    @property
    def is_untouched(self) -> bool:
        """Whether no counted bytes are held, so that nothing needs to be refused."""
        return not self._waiting

    def has_room(self, connection: bytes, size: int = 0) -> bool:
        """Return whether ``size`` more bytes may be held for a connection."""
        limit = CONNECTION_BYTES_MAX if self._total + size <= TOTAL_BYTES_MAX else COUNTED_BYTES
        return self._waiting.get(connection, 0) + size <= limit

    def refusal_of_read(self, call: Call) -> Failed | None:
        """Return the failure if further outcomes of a call would be refused, else None."""
        if call.overflows:
            return TOO_LARGE
        connection = call.client[0]
        return None if connection not in self._full and self.has_room(connection) else NOT_READ

    def admit(self, call: Call, size: int) -> Failed | None:
        """Hold an outcome of ``size`` bytes, or return the failure to answer instead."""
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
        """Release the bytes of a call's outcomes: its reply is about to be encoded and sent."""
        if call.outcome_bytes > SLIGHT_BYTES:
            self.release(call.client[0], call.outcome_bytes)

    def begin_reply(self, connection: bytes, size: int, now: float) -> int | None:
        """Hold a reply; return the bytes to pass to ``end_reply`` once ZeroMQ has released it.

        Returns 0 if ``end_reply`` need not be called, and None if the reply must not be sent
        because the client does not read.
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
        """Release a reply that was handed to the operating system or dropped."""
        self.release(connection, size)
        if connection in self._waiting:
            self._read_at[connection] = now
        else:
            self._read_at.pop(connection, None)

    def release(self, connection: bytes, size: int) -> None:
        """Release bytes that were held for a connection."""
        self._total -= size
        self._full.discard(connection)
        left = self._waiting[connection] - size
        if left:
            self._waiting[connection] = left
        else:
            del self._waiting[connection]

    def _reads(self, connection: bytes, now: float) -> bool:
        """Whether a client appears to read its replies, or little is held for it."""
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
            self._uncounted.clear()  # most of those connections are closed
        self._uncounted[connection] = size
