"""Validation: the operations a gateway accepts, and the batches a leader accepts from gateways.

Invalid input is refused before it reaches the log.
"""

from typing import assert_never

from protocol.address import InvalidAddressText, parse_address
from protocol.commands import Insert, OpenSession, Remove, Write
from protocol.config import VALUE_BYTES_CEILING
from protocol.gateway.batching import BATCH_OPERATIONS_MAX
from protocol.keys import InvalidKey, encode_key, encode_prefix
from protocol.membership import NodeId
from protocol.messages.client import (
    AddNode,
    Get,
    Hello,
    ListKeys,
    ListPrefixes,
    Operation,
    ReadSnapshot,
    RemoveNode,
    Status,
    TransferLeadership,
)
from protocol.ranges import ID_BYTES, NUMBER_MAX
from protocol.sessions import UNACKNOWLEDGED_MAX
from protocol.state_machine import decode_batch
from protocol.wire import Malformed, encode

PROPOSAL_BYTES_MAX = 16 << 20  # above the size of any batch that a gateway makes


class InvalidOperation(ValueError):
    """An operation that can never succeed as it stands."""


def validate(operation: Operation, value_bytes_max: int) -> None:
    """Check an operation; ``value_bytes_max`` limits the values of inserts.

    Raises:
        InvalidOperation: with a sentence that says what is wrong.
    """
    try:
        _validate(operation, value_bytes_max)
    except (InvalidKey, InvalidAddressText) as error:
        raise InvalidOperation(str(error)) from None


def check_proposal(payload: bytes, proposer: NodeId) -> bytes:
    """Return another gateway's batch, checked and encoded as it is to be appended.

    A correct gateway sends only valid batches. A broken one must not get garbage into the log, from
    which every node would have to apply it.

    Raises:
        InvalidOperation: with a sentence that says what is wrong.
    """
    _require(
        len(payload) <= PROPOSAL_BYTES_MAX,
        f"the batch has {len(payload)} bytes; the limit is {PROPOSAL_BYTES_MAX}",
    )
    try:
        batch = decode_batch(payload)
        _require(batch.origin == proposer, "the batch is of another node")
        _require(
            len(batch.writes) <= BATCH_OPERATIONS_MAX,
            f"the batch has {len(batch.writes)} writes; the limit is {BATCH_OPERATIONS_MAX}",
        )
        for write in batch.writes:
            _validate_write(write, VALUE_BYTES_CEILING)
    except (Malformed, InvalidKey) as error:
        raise InvalidOperation(str(error)) from None
    return encode(batch)  # drops trailing elements, which were not checked


def _validate(operation: Operation, value_bytes_max: int) -> None:
    match operation:
        case Write():
            _validate_write(operation, value_bytes_max)
        case Get(key=key):
            encode_key(key)
        case ListKeys() | ListPrefixes():
            _validate_list(operation)
        case AddNode(address=address):
            parse_address(address)
        case RemoveNode() | TransferLeadership() | ReadSnapshot():
            _validate_id(operation)
        case Hello() | Status():
            pass
        case unknown:
            assert_never(unknown)


def _validate_write(write: Write, value_bytes_max: int) -> None:
    _require(
        0 <= write.sequence - write.acknowledged < UNACKNOWLEDGED_MAX,
        f"at most {UNACKNOWLEDGED_MAX} writes of a session may be unacknowledged",
    )
    match write.command:
        case OpenSession():
            pass
        case Insert(key=key, value=value):
            encode_key(key)
            _require(
                len(value) <= value_bytes_max,
                f"the value of {key!r} has {len(value)} bytes and at most {value_bytes_max} are "
                "allowed",
            )
        case Remove(key=key):
            encode_key(key)
        case unknown:
            assert_never(unknown)


def _validate_list(operation: ListKeys | ListPrefixes) -> None:
    encode_prefix(operation.prefix)
    _require(1 <= operation.limit <= NUMBER_MAX, "limit must be positive")
    if operation.start_after is not None:
        encode_key(operation.start_after)


def _validate_id(operation: RemoveNode | TransferLeadership | ReadSnapshot) -> None:
    match operation:
        case RemoveNode(node=node):
            _require(len(node) == ID_BYTES, "a node id has 16 bytes")
        case TransferLeadership(node=node):
            _require(len(node) in (0, ID_BYTES), "a node id has 16 bytes")
        case ReadSnapshot(backup=backup):
            _require(len(backup) == ID_BYTES, "a backup's id has 16 bytes")
        case unknown:
            assert_never(unknown)


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise InvalidOperation(otherwise)
