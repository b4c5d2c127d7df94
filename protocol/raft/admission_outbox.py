"""Admission outbox: the messages and notes of one turn of a node's admission."""

from enum import Enum

import msgspec

from protocol.messages.peer import PeerMessage
from protocol.messages.storage import AdoptCluster


class NoteLevel(Enum):
    """The log level of a note."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class Note(msgspec.Struct, frozen=True):
    """A sentence for the operator."""

    level: NoteLevel
    text: str


class AdmissionFailure(msgspec.Struct, frozen=True):
    """The reason why this node must end: the name of its error class, and a sentence."""

    error: str
    text: str


class AdmissionOutbox(msgspec.Struct):
    """The messages and notes of one turn."""

    requests: list[tuple[str, PeerMessage]] = msgspec.field(default_factory=list)  # by address
    storage: list[AdoptCluster] = msgspec.field(default_factory=list)
    notes: list[Note] = msgspec.field(default_factory=list)
    failure: AdmissionFailure | None = None
