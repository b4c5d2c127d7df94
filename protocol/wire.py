"""Wire encoding: messages as MessagePack; every malformed input raises one exception."""

from collections.abc import Callable
from typing import Any, Generic, TypeVar

import msgspec

from protocol import encoding
from protocol.messages.client import (
    Established,
    Mark,
    Outcome,
    Published,
    ReadBatch,
    Reply,
    Request,
)
from protocol.messages.gateway import GatewayMessage
from protocol.messages.peer import PeerFrame
from protocol.messages.replicator import ReplicatorMessage
from protocol.messages.storage import StorageMessage
from protocol.messages.timer import TimerMessage

REQUEST_BYTES_MAX = 8 << 20  # in one frame from a client
PEER_FRAME_BYTES_MAX = 32 << 20  # in one frame from a peer
# A key and ZeroMQ's prefix. Its topic trie recurses once for each byte of a topic.
SUBSCRIPTION_BYTES_MAX = (4 << 10) + 64

MessageT = TypeVar("MessageT")

encode = encoding.encode


class Malformed(ValueError):
    """Bytes that are not a message of the expected kind."""


class Decoder(Generic[MessageT]):
    """Decodes frames of one kind of message."""

    def __init__(self, kind: Any) -> None:
        self._decode: Callable[[bytes], MessageT] = msgspec.msgpack.Decoder(kind).decode

    def __call__(self, frame: bytes) -> MessageT:
        """Return the message in a frame.

        Raises:
            Malformed: the frame is not such a message.
        """
        try:
            return self._decode(frame)
        # Deep nesting and bad UTF-8 raise errors that are not msgspec's own.
        except (msgspec.MsgspecError, RecursionError, ValueError, OverflowError) as error:
            raise Malformed(str(error)) from None


decode_request: Decoder[Request] = Decoder(Request)
decode_reply: Decoder[Reply] = Decoder(Reply)
decode_outcome: Decoder[Outcome] = Decoder(Outcome)
decode_read_batch: Decoder[ReadBatch] = Decoder(ReadBatch)
decode_peer_frame: Decoder[PeerFrame] = Decoder(PeerFrame)
decode_for_storage: Decoder[list[StorageMessage]] = Decoder(list[StorageMessage])
decode_for_replicator: Decoder[list[ReplicatorMessage]] = Decoder(list[ReplicatorMessage])
decode_for_gateway: Decoder[list[GatewayMessage]] = Decoder(list[GatewayMessage])
decode_for_timer: Decoder[list[TimerMessage]] = Decoder(list[TimerMessage])
decode_published: Decoder[Published] = Decoder(Published)
decode_established: Decoder[Established] = Decoder(Established)
decode_mark: Decoder[Mark] = Decoder(Mark)
