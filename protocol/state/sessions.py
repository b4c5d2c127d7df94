"""Sessions: the results of clients' writes, kept to answer retries (Raft dissertation §6.3).

Sessions are part of the replicated state, so that a retry is recognized on any node and after any
change of leader. They do not depend on a clock: the order of the log alone decides which session is
evicted, the least recently used one of the user that has the most.

A session is stored as one row with its newest results, and one row for each earlier block of
unacknowledged results. The cost of a write is therefore independent of the number of results kept.
"""

from collections.abc import Collection, Iterable, Iterator

import msgspec

from protocol.encoding import encode
from protocol.holdings import Holdings
from protocol.state.commands import Result, SessionExpired, Write

SESSIONS_MAX = 10_000  # beyond it, each new one evicts another
UNACKNOWLEDGED_MAX = 4096  # the largest number of results that one session may keep
BLOCK_RESULTS = 16  # results of consecutive sequences in one row
NUMBER_BYTES = 8  # of a session or a block, big-endian, in the key of a row


class SessionRow(msgspec.Struct, frozen=True, array_like=True):
    """The row of a session, under its number."""

    last_used: int  # value of the counter of all session uses
    acknowledged: int  # lowest sequence whose result the client may still ask for
    results: dict[int, Result]  # of the newest block, by sequence
    user: bytes = b""  # public key of the user that opened it; empty for none in particular


class Session:
    """The results that a client may still ask for again."""

    __slots__ = ("acknowledged", "blocks", "last_used", "newest", "saved", "unsaved", "user")

    def __init__(self, last_used: int, user: bytes = b"") -> None:
        self.last_used = last_used
        self.user = user
        self.acknowledged = 0
        self.blocks: dict[int, dict[int, Result]] = {}  # results by sequence, by block
        self.newest = 0  # newest block, stored in the session's own row
        self.saved: set[int] = set()  # earlier blocks that are stored
        self.unsaved: set[int] = set()  # earlier blocks whose rows are outdated

    def keep(self, sequence: int, result: Result) -> int:
        """Keep a result; return its block."""
        block = sequence // BLOCK_RESULTS
        results = self.blocks.get(block)
        if results is None:
            results = self.blocks[block] = {}
        results[sequence] = result
        return block

    def keeps(self, sequence: int) -> bool:
        """Whether a result is kept."""
        return sequence in self.blocks.get(sequence // BLOCK_RESULTS, _NONE)

    def load(self, results: dict[int, Result]) -> None:
        """Add results from a row, except those of blocks that are acknowledged as a whole."""
        first = self.acknowledged // BLOCK_RESULTS
        for sequence, result in results.items():
            if sequence // BLOCK_RESULTS >= first:
                self.keep(sequence, result)


_NONE: dict[int, Result] = {}

_decode_row = msgspec.msgpack.Decoder(SessionRow).decode
_decode_block = msgspec.msgpack.Decoder(dict[int, Result]).decode


def decode_session(key: bytes, value: bytes) -> SessionRow | dict[int, Result]:
    """Return the content of a row of the sessions table.

    Raises:
        ValueError: the row is invalid; ``msgspec.MsgspecError`` is a subclass.
    """
    if len(key) not in (NUMBER_BYTES, 2 * NUMBER_BYTES):
        raise ValueError("neither a session nor a block of results")
    return _decode_row(value) if len(key) == NUMBER_BYTES else _decode_block(value)


class Sessions:
    """All sessions. A user is given by its public key; empty for no restrictions."""

    def __init__(
        self, stored: Iterable[tuple[bytes, bytes]] = (), *, sessions_max: int | None = None
    ) -> None:
        """Load sessions from the rows of their table, in the order of its keys."""
        loaded = sorted(_load(stored).items(), key=lambda pair: pair[1].last_used)
        self._held: Holdings[int, Session]
        self._held = Holdings(SESSIONS_MAX if sessions_max is None else sessions_max)
        self._changed: dict[int, Session] = {}
        self._ended: list[tuple[int, Session]] = []
        for number, session in loaded:
            self._held.add(session.user, number, session)

    def open(self, number: int, use: int, user: bytes = b"") -> None:
        """Open a session of a user; evict another one if there are too many."""
        session = self._changed[number] = Session(use, user)
        self._held.add(user, number, session)
        evicted = self._held.make_room()
        if evicted is not None:
            self._end(*evicted)

    def end_all(self, user: bytes) -> None:
        """End the sessions of a public key that is no user's any more."""
        for number, session in self._held.drop_all(user):
            self._end(number, session)

    def find(self, number: int, use: int, user: bytes = b"") -> Session | None:
        """Return a session and mark it as most recently used; None if the user has no such one.

        Its results may be values that another user must not read.
        """
        session = self._held.use(user, number)
        if session is not None:
            session.last_used = use
            self._changed[number] = session
        return session

    def take_changes(self) -> Iterator[tuple[bytes, bytes | None]]:
        """Yield the rows changed since the last call, as key and value; None deletes the row."""
        changed, self._changed = self._changed, {}
        ended, self._ended = self._ended, []
        for number, session in ended:
            yield _key(number), None
            yield from ((_key(number, block), None) for block in session.saved)
        for number, session in changed.items():
            newest = session.blocks.get(session.newest, _NONE)
            row = SessionRow(session.last_used, session.acknowledged, newest, session.user)
            yield _key(number), encode(row)
            if session.unsaved:
                yield from _changed_blocks(number, session)

    def _end(self, number: int, session: Session) -> None:
        self._changed.pop(number, None)
        self._ended.append((number, session))


def _changed_blocks(number: int, session: Session) -> Iterator[tuple[bytes, bytes | None]]:
    """Yield the outdated rows of earlier blocks."""
    for block in session.unsaved:
        results = session.blocks.get(block)
        if results:
            session.saved.add(block)
            yield _key(number, block), encode(results)
        elif block in session.saved:
            session.saved.remove(block)
            yield _key(number, block), None
    session.unsaved.clear()


def _load(stored: Iterable[tuple[bytes, bytes]]) -> dict[int, Session]:
    sessions: dict[int, Session] = {}
    for key, value in stored:
        row, number = decode_session(key, value), int.from_bytes(key[:NUMBER_BYTES], "big")
        if isinstance(row, SessionRow):
            session = sessions[number] = Session(row.last_used, row.user)
            session.acknowledged = row.acknowledged
            session.load(row.results)
        elif number in sessions:
            sessions[number].load(row)
            sessions[number].saved.add(int.from_bytes(key[NUMBER_BYTES:], "big"))
    for session in sessions.values():
        session.newest = max(session.blocks, default=0)
        # Rows of earlier versions hold all results of their sessions.
        session.unsaved = set(session.blocks) - session.saved - {session.newest}
    return sessions


def _key(session: int, block: int | None = None) -> bytes:
    key = session.to_bytes(NUMBER_BYTES, "big")
    return key if block is None else key + block.to_bytes(NUMBER_BYTES, "big")


def is_duplicate(session: Session, write: Write) -> bool:
    """Whether this write was already applied."""
    return write.sequence < session.acknowledged or session.keeps(write.sequence)


def recall(session: Session, write: Write) -> Result:
    """Return the result of a write that was already applied."""
    if write.sequence < session.acknowledged:
        return SessionExpired()  # the client no longer waits for it
    return session.blocks[write.sequence // BLOCK_RESULTS][write.sequence]


def remember(session: Session, write: Write, result: Result) -> None:
    """Keep a result until the client acknowledges it, and drop those acknowledged now."""
    block = session.keep(write.sequence, result)
    if block > session.newest:
        session.unsaved.add(session.newest)
        session.newest = block
    elif block < session.newest:
        session.unsaved.add(block)
    if write.acknowledged > session.acknowledged:
        first, end = session.acknowledged // BLOCK_RESULTS, write.acknowledged // BLOCK_RESULTS
        session.acknowledged = write.acknowledged
        if first < end:
            _drop(session, range(first, end))


def _drop(session: Session, blocks: range) -> None:
    """Drop the results of blocks that are acknowledged as a whole.

    A block that is acknowledged in part keeps all of its own: its row is not written again for
    each write that acknowledges another one.
    """
    for block in _shared(blocks, session.blocks):
        del session.blocks[block]
    session.unsaved.update(_shared(blocks, session.saved))


def _shared(numbers: range, known: Collection[int]) -> list[int]:
    """Return what is in both, from the shorter one: a client may skip any number of blocks."""
    if len(numbers) <= len(known):
        return [each for each in numbers if each in known]
    return [each for each in known if each in numbers]
