"""Reply budget: the bytes that a gateway holds until its clients have read them.

These are the outcomes of incomplete replies, and the replies that ZeroMQ has not yet handed to the
operating system. Small replies are counted together, once they add up to ``COUNTED_BYTES`` on a
connection, which keeps sending them cheap.
"""

from protocol.gateway.pending import Call
from protocol.gateway.shares import exceeds_share, refusal
from protocol.messages.client import Failed, FailureCode

REPLY_BYTES_MAX = 16 << 20  # of outcomes in one reply; clients accept frames of 32 MiB
CONNECTION_BYTES_MAX = 16 << 20  # held for one connection
TOTAL_BYTES_MAX = 128 << 20  # held for all, and for one user its share of it
# Beyond this total or share, each connection still gets ``COUNTED_BYTES``.
UNREAD_SECONDS_MAX = 1.0  # after which even refusals are no longer sent to a client
COUNTED_BYTES = 64 << 10
SMALL_BYTES = 8 << 10  # smaller replies are not counted one by one
SLIGHT_BYTES = 1 << 10  # smaller outcomes of a call are not counted at all
CONNECTIONS_NOTED_MAX = 4096  # with uncounted small replies

TOO_LARGE = Failed(
    FailureCode.TOO_LARGE,
    f"the reply would be larger than {REPLY_BYTES_MAX >> 20} MiB: ask for fewer keys at once",
)
NOT_READ = refusal("too many replies are unread")


class ReplyBudget:
    """Bytes held for each connection and user, and in total. Times are seconds of a steady clock.

    A payer has the share of a user; see ``shares``. A connection without one pays for itself.
    """

    def __init__(self) -> None:
        self._total = 0
        self._waiting: dict[bytes, int] = {}  # bytes by connection, without zeros
        self._payers: dict[bytes, bytes] = {}  # of these connections
        self._held: dict[bytes, int] = {}  # bytes by payer, without zeros
        self._read_at: dict[bytes, float] = {}  # when the client last proved to read
        self._full: set[bytes] = set()  # connections whose outcomes were refused
        self._uncounted: dict[bytes, int] = {}  # bytes of small replies since the last counted one

    @property
    def is_untouched(self) -> bool:
        """Whether no counted bytes are held, so that nothing needs to be refused."""
        return not self._waiting

    def has_room(self, connection: bytes, size: int = 0, payer: bytes = b"") -> bool:
        """Return whether ``size`` more bytes may be held for a connection."""
        held = self._held.get(self._payer_of(connection, payer), 0)
        is_full = self._total + size > TOTAL_BYTES_MAX
        is_full = is_full or exceeds_share(held + size, TOTAL_BYTES_MAX)
        limit = COUNTED_BYTES if is_full else CONNECTION_BYTES_MAX
        return self._waiting.get(connection, 0) + size <= limit

    def refusal_of_read(self, call: Call) -> Failed | None:
        """Return the failure if further outcomes of a call would be refused, else None."""
        if call.overflows:
            return TOO_LARGE
        connection = call.client[0]
        has_room = connection not in self._full and self.has_room(connection, payer=call.payer)
        return None if has_room else NOT_READ

    def admit(self, call: Call, size: int) -> Failed | None:
        """Hold an outcome of ``size`` bytes, or return the failure to answer instead."""
        before, after = call.outcome_bytes, call.outcome_bytes + size
        if after > SLIGHT_BYTES:
            if after > REPLY_BYTES_MAX:
                call.overflows = True
                return TOO_LARGE
            counts_anew = after if before <= SLIGHT_BYTES else size
            if not self._admit(call, counts_anew):
                return NOT_READ
        call.outcome_bytes = after
        return None

    def end_call(self, call: Call) -> None:
        """Release the bytes of a call's outcomes: its reply is about to be encoded and sent."""
        if call.outcome_bytes > SLIGHT_BYTES:
            self.release(call.client[0], call.outcome_bytes)

    def begin_reply(
        self, connection: bytes, size: int, now: float, payer: bytes = b""
    ) -> int | None:
        """Hold a reply; return the bytes to pass to ``end_reply`` once ZeroMQ has released it.

        Returns 0 if ``end_reply`` need not be called, and None if the reply must not be sent
        because the client does not read.
        """
        if self._waiting and not self._reads(connection, payer, now):
            return None
        if size < SMALL_BYTES:
            size += self._uncounted.get(connection, 0)
            if size < COUNTED_BYTES:
                self._note_uncounted(connection, size)
                return 0
        self._uncounted.pop(connection, None)
        self._hold(connection, payer, size)
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
        self._release_payer(self._payers[connection], size)
        self._full.discard(connection)
        left = self._waiting[connection] - size
        if left:
            self._waiting[connection] = left
        else:
            del self._waiting[connection], self._payers[connection]

    def _reads(self, connection: bytes, payer: bytes, now: float) -> bool:
        """Whether a client appears to read its replies, or little is held for it."""
        if self.has_room(connection, payer=payer):
            return True
        is_slow = now - self._read_at.get(connection, now) > UNREAD_SECONDS_MAX
        return not is_slow and self._waiting.get(connection, 0) <= 2 * CONNECTION_BYTES_MAX

    def _admit(self, call: Call, size: int) -> bool:
        connection = call.client[0]
        if not self.has_room(connection, size, call.payer):
            if connection in self._waiting:
                self._full.add(connection)
            return False
        self._hold(connection, call.payer, size)
        return True

    def _payer_of(self, connection: bytes, payer: bytes) -> bytes:
        """Return who pays for a connection, as long as anything is held for it.

        Without a user, it is the connection: a client may choose an id that is a user's name.
        """
        return self._payers.get(connection) or payer or b"\0" + connection

    def _hold(self, connection: bytes, payer: bytes, size: int) -> None:
        payer = self._payers[connection] = self._payer_of(connection, payer)
        self._held[payer] = self._held.get(payer, 0) + size
        self._total += size
        self._waiting[connection] = self._waiting.get(connection, 0) + size

    def _release_payer(self, payer: bytes, size: int) -> None:
        left = self._held[payer] - size
        if left:
            self._held[payer] = left
        else:
            del self._held[payer]

    def _note_uncounted(self, connection: bytes, size: int) -> None:
        if len(self._uncounted) >= CONNECTIONS_NOTED_MAX:
            self._uncounted.clear()  # most of those connections are closed
        self._uncounted[connection] = size
