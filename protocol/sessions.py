"""Exactly once: the results that a retry is answered with (Raft dissertation §6.3).

Everything here is part of the replicated state, so that a retry is recognised on any node and
after any change of leader. Nothing here reads a clock: which session gives way to a new one
follows from the order of the log alone.
"""

from collections import OrderedDict
from collections.abc import Iterable, Iterator

import msgspec

from protocol.commands import Result, Write
from protocol.encoding import encode

SESSIONS_MAX = 10_000  # the least recently used gives way
UNACKNOWLEDGED_MAX = 4096  # the widest window of results that one session may keep


class Session(msgspec.Struct, array_like=True):
    """The results that a client may still ask for again, by sequence."""

    last_used: int
    acknowledged: int
    results: dict[int, Result]


_decode = decode_session = msgspec.msgpack.Decoder(Session).decode


class Sessions:
    """All sessions, least recently used first."""

    def __init__(
        self, stored: Iterable[tuple[bytes, bytes]] = (), *, sessions_max: int = SESSIONS_MAX
    ) -> None:
        loaded = [(int.from_bytes(key, "big"), _decode(value)) for key, value in stored]
        loaded.sort(key=lambda pair: pair[1].last_used)
        self._sessions: OrderedDict[int, Session] = OrderedDict(loaded)
        self._max = sessions_max
        self._changed: set[int] = set()

    def open(self, number: int, use: int) -> None:
        """Begin a session; the least recently used one ends where there are too many."""
        self._sessions[number] = Session(use, 0, {})
        self._changed.add(number)
        if len(self._sessions) > self._max:
            evicted, _ = self._sessions.popitem(last=False)
            self._changed.add(evicted)

    def find(self, number: int, use: int) -> Session | None:
        """Return the session, now the most recently used one, or None if it is not known."""
        session = self._sessions.get(number)
        if session is not None:
            session.last_used = use
            self._sessions.move_to_end(number)
            self._changed.add(number)
        return session

    def take_changes(self) -> Iterator[tuple[bytes, bytes | None]]:
        """Yield what is to be stored since the last call: key and record, None if it ended."""
        changed, self._changed = self._changed, set()
        for number in changed:
            session = self._sessions.get(number)
            yield number.to_bytes(8, "big"), None if session is None else encode(session)


def is_duplicate(session: Session, write: Write) -> bool:
    """Whether this write was applied before, answered to the client or not."""
    return write.sequence in session.results or write.sequence < session.acknowledged


def remember(session: Session, write: Write, result: Result) -> None:
    """Keep a result until the client says that it has it, and drop those it has by now."""
    session.results[write.sequence] = result
    if write.acknowledged > session.acknowledged:
        session.acknowledged = write.acknowledged
        for sequence in [each for each in session.results if each < write.acknowledged]:
            del session.results[sequence]
