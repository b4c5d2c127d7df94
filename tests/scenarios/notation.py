"""Notation of messages, logs and nodes in scenarios, written and read.

``3@2`` is the entry with index 3 and term 2, ``3..5@2`` is three of them, ``-`` is nothing. A
log is the terms of its entries, ``1,1,4``; ``1*9`` is nine of term 1. Learners stand in brackets.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any

from protocol.entry import EntryKind, LogEntry
from protocol.membership import Membership, NodeId
from protocol.messages.peer import (
    AppendEntries,
    AppendEntriesReply,
    ForwardMembershipChange,
    ForwardProposal,
    ForwardRead,
    Heartbeat,
    HeartbeatReply,
    InstallSnapshot,
    InstallSnapshotReply,
    PeerMessage,
    ProposalRefused,
    ReadIndex,
    ReadRefused,
    RemovalNotice,
    RequestVote,
    RequestVoteReply,
    TimeoutNow,
)
from protocol.messages.storage import Append
from protocol.snapshot import SnapshotChunk, SnapshotPosition
from protocol.state.machine import decode_membership_change
from protocol.state.sessions import NUMBER_BYTES
from protocol.storage.state_tables import StateTables

RUN_MIN = 6  # equal terms in a row that are counted instead of listed
NOTHING = "-"
SESSIONS = bytes([StateTables._fields.index("sessions")])


class Mistake(ValueError):
    """A script is invalid."""


def node_name(node: NodeId | None) -> str:
    """Write a node's id, or a dash for none."""
    return node.rstrip(b"\0").decode() if node else NOTHING


def node_id(name: str) -> NodeId:
    """Read a node's id."""
    return b"" if name == NOTHING else name.encode().ljust(16, b"\0")


# --- logs and members


def write_log(terms: Sequence[int]) -> str:
    """Write a log as the terms of its entries."""
    words: list[str] = []
    for term, run in groupby(terms):
        length = len(list(run))
        words.extend([f"{term}*{length}"] if length >= RUN_MIN else [str(term)] * length)
    return ",".join(words) or NOTHING


def read_log(text: str) -> list[int]:
    """Read the terms of a log's entries."""
    terms: list[int] = []
    for word in text.split(",") if text != NOTHING else []:
        term, _, length = word.partition("*")
        terms.extend([read_number(term)] * read_number(length or "1"))
    return terms


def write_members(membership: Membership) -> str:
    """Write the members of a cluster, learners in brackets."""
    names = (
        node_name(member.id) if member.voter else f"({node_name(member.id)})"
        for member in membership.members
    )
    return ",".join(names) or NOTHING


def read_number(text: str) -> int:
    """Read a number that is not negative."""
    if not text.isdecimal():
        raise Mistake(f"{text!r} is no number")
    return int(text)


# --- entries


def write_entries(entries: Iterable[LogEntry]) -> str:
    """Write entries as index and term, with the membership of an entry that has one."""
    return ",".join(_write_runs(entries)) or NOTHING


def _write_runs(entries: Iterable[LogEntry]) -> Iterator[str]:
    for (term, members), run in groupby(entries, lambda each: (each.term, _members_of(each))):
        indexes = [entry.index for entry in run]
        if members or len(indexes) < 3:
            yield from (f"{index}@{term}{members}" for index in indexes)
        else:
            yield f"{indexes[0]}..{indexes[-1]}@{term}"


def _members_of(entry: LogEntry) -> str:
    if entry.kind != EntryKind.MEMBERSHIP:
        return ""
    return f"[{write_members(decode_membership_change(entry.payload).membership)}]"


def read_entries(text: str) -> tuple[LogEntry, ...]:
    """Read entries; the same index and term is the same entry throughout a script."""
    entries: list[LogEntry] = []
    for word in text.split(",") if text != NOTHING else []:
        places, _, term = word.partition("@")
        first, _, last = places.partition("..")
        indexes = range(read_number(first), read_number(last or first) + 1)
        entries.extend(made_up_entry(index, read_number(term)) for index in indexes)
    return tuple(entries)


def made_up_entry(index: int, term: int) -> LogEntry:
    """Return the entry of this index and term, the same in all logs of a script."""
    return LogEntry(index, term, EntryKind.BATCH, b"%d@%d" % (index, term))


# --- messages to text


def write_message(message: PeerMessage) -> str:
    """Write a message: its name and its fields."""
    kind = type(message)
    return f"{kind.__name__} {WRITERS[kind](message)}".rstrip()


def write_write(append: Append) -> str:
    """Write the content of an ``Append``."""
    words: list[str] = []
    if append.hard_state is not None:
        words.append(f"term={append.hard_state.term}")
        words.append(f"vote={node_name(append.hard_state.voted_for)}")
    if append.entries:
        words.append(f"entries={write_entries(append.entries)}")
    if append.memberships is not None:
        history = [write_members(each.membership) for each in append.memberships]
        words.append(f"members={'>'.join(history)}")
    return " ".join(words) or "a sign of life"


def _write_vote_request(message: RequestVote) -> str:
    words = [f"term={message.term} last={message.last_index}@{message.last_term}"]
    words += ["pre"] * message.pre + ["transfer"] * message.transfer
    return " ".join(words)


def _write_vote(message: RequestVoteReply) -> str:
    answer = "granted" if message.granted else "refused"
    return f"term={message.term} {answer}" + " pre" * message.pre


def _write_append(message: AppendEntries) -> str:
    return (
        f"term={message.term} prev={message.prev_index}@{message.prev_term} "
        f"entries={write_entries(message.entries)} commit={message.commit_index}"
    )


def _write_append_reply(message: AppendEntriesReply) -> str:
    if message.accepted:
        return f"term={message.term} accepted index={message.index}"
    hint = f"{message.hint_index}@{message.hint_term}"
    return f"term={message.term} refused index={message.index} hint={hint}"


def write_chunk(chunk: SnapshotChunk) -> str:
    """Write the rows of a chunk and its snapshot."""
    rows = f"rows={_write_row(chunk.start.row)}..{_write_row(chunk.end.row)}"
    return f"{_write_snapshot(chunk.start)} {rows}" + " last" * chunk.last


def write_position(position: SnapshotPosition) -> str:
    """Write the position within a snapshot."""
    return f"{_write_snapshot(position)} after={_write_row(position.row)}"


def _write_snapshot(position: SnapshotPosition) -> str:
    return f"snapshot={position.snapshot.index}@{position.snapshot.term}"


def _write_row(row: bytes) -> str:
    """Write the key of a row; a number is that of a session, or of its earlier results."""
    table, key = row[:1], row[1:]
    if table == SESSIONS:
        number, is_block = int.from_bytes(key[:NUMBER_BYTES], "big"), len(key) > NUMBER_BYTES
        return f"session-{number}" + "/results" * is_block
    return key.removeprefix(b"\0").decode() or NOTHING


WRITERS: dict[type, Callable[[Any], str]] = {
    RequestVote: _write_vote_request,
    RequestVoteReply: _write_vote,
    AppendEntries: _write_append,
    AppendEntriesReply: _write_append_reply,
    Heartbeat: lambda it: f"term={it.term} round={it.round} commit={it.commit_index}",
    HeartbeatReply: lambda it: f"term={it.term} round={it.round}",
    ForwardProposal: lambda it: f"#{it.number} {it.payload.decode()}",
    ProposalRefused: lambda it: f"#{it.number} {it.refusal.name}",
    ForwardRead: lambda it: f"#{it.number}",
    ReadIndex: lambda it: f"#{it.number} index={it.index}",
    ReadRefused: lambda it: f"#{it.number}",
    ForwardMembershipChange: lambda it: f"#{it.number} remove={node_name(it.remove)}",
    RemovalNotice: lambda it: f"index={it.index}",
    TimeoutNow: lambda it: f"term={it.term}",
    InstallSnapshot: lambda it: f"term={it.term} {write_chunk(it.chunk)}",
    InstallSnapshotReply: lambda it: f"term={it.term} {write_position(it.position)}",
}
KINDS = {kind.__name__: kind for kind in WRITERS}


# --- messages from text


class Fields:
    """The fields of a message, taken one by one."""

    def __init__(self, words: Sequence[str]) -> None:
        self._flags = {word for word in words if "=" not in word}
        self._values = dict(word.split("=", 1) for word in words if "=" in word)

    def text(self, key: str, default: str | None = None) -> str:
        """Return the text of a field."""
        value = self._values.pop(key, default)
        if value is None:
            raise Mistake(f"{key}=... is missing")
        return value

    def number(self, key: str, default: int | None = None) -> int:
        """Return a field that is a number."""
        return read_number(self.text(key, None if default is None else str(default)))

    def place(self, key: str, default: str | None = None) -> tuple[int, int]:
        """Return a field that is index and term of an entry."""
        index, _, term = self.text(key, default).partition("@")
        return read_number(index), read_number(term)

    def flag(self, name: str) -> bool:
        """Return whether a flag is given."""
        said = name in self._flags
        self._flags.discard(name)
        return said

    def nothing_is_left(self) -> None:
        """Raise an error for words that were not taken."""
        for word in (*self._values, *sorted(self._flags)):
            raise Mistake(f"{word!r} means nothing here")


def read_message(kind: str, fields: Fields) -> PeerMessage:
    """Read a message in this notation."""
    reader = READERS.get(kind)
    if reader is None:
        raise Mistake(f"{kind!r} cannot be made by hand; {', '.join(READERS)} can")
    return reader(fields)


def _read_vote_request(fields: Fields) -> RequestVote:
    last = fields.place("last")
    return RequestVote(fields.number("term"), *last, fields.flag("pre"), fields.flag("transfer"))


def _read_vote(fields: Fields) -> RequestVoteReply:
    return RequestVoteReply(fields.number("term"), _is_yes(fields, "granted"), fields.flag("pre"))


def _read_append(fields: Fields) -> AppendEntries:
    prev = fields.place("prev")
    entries = read_entries(fields.text("entries"))
    return AppendEntries(fields.number("term"), *prev, entries, fields.number("commit"))


def _read_append_reply(fields: Fields) -> AppendEntriesReply:
    accepted = _is_yes(fields, "accepted")
    hint = fields.place("hint", "0@0")
    return AppendEntriesReply(fields.number("term"), accepted, fields.number("index"), *hint)


def _is_yes(fields: Fields, yes: str) -> bool:
    said, denied = fields.flag(yes), fields.flag("refused")
    if said == denied:
        raise Mistake(f"say {yes} or refused")
    return said


READERS: dict[str, Callable[[Fields], PeerMessage]] = {
    "RequestVote": _read_vote_request,
    "RequestVoteReply": _read_vote,
    "AppendEntries": _read_append,
    "AppendEntriesReply": _read_append_reply,
    "Heartbeat": lambda it: Heartbeat(it.number("term"), it.number("round"), it.number("commit")),
    "HeartbeatReply": lambda it: HeartbeatReply(it.number("term"), it.number("round")),
    "RemovalNotice": lambda it: RemovalNotice(it.number("index")),
    "TimeoutNow": lambda it: TimeoutNow(it.number("term")),
}
