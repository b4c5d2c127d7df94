"""What a gateway accepts from a client: everything else is refused before it goes anywhere."""

from typing import assert_never

from protocol.address import InvalidAddressText, parse_address
from protocol.client_messages import (
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
from protocol.commands import Insert, OpenSession, Remove, Write
from protocol.keys import InvalidKey, encode_key, encode_prefix
from protocol.sessions import UNACKNOWLEDGED_MAX

NUMBER_MAX = (1 << 63) - 1
NODE_ID_BYTES = BACKUP_ID_BYTES = 16


class InvalidOperation(ValueError):
    """An operation that would never succeed as it stands."""


def validate(operation: Operation, value_bytes_max: int) -> None:
    """Check an operation.

    Raises:
        InvalidOperation: with a sentence that says what is wrong.
    """
    try:
        _validate(operation, value_bytes_max)
    except (InvalidKey, InvalidAddressText) as error:
        raise InvalidOperation(str(error)) from None


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
    numbers = (write.session, write.sequence, write.acknowledged)
    _require(all(0 <= each <= NUMBER_MAX for each in numbers), "a number is out of range")
    _require(
        0 <= write.sequence - write.acknowledged < UNACKNOWLEDGED_MAX,
        f"at most {UNACKNOWLEDGED_MAX} writes of a session may be unacknowledged",
    )
    command = write.command
    if isinstance(command, OpenSession):
        return
    encode_key(command.key)
    required = command.if_revision
    _require(required is None or 0 <= required <= NUMBER_MAX, "if_revision is out of range")
    if isinstance(command, Insert):
        size = len(command.value)
        _require(
            size <= value_bytes_max,
            f"the value of {command.key!r} has {size} bytes and at most {value_bytes_max} are "
            "allowed",
        )
    else:
        assert isinstance(command, Remove)


def _validate_list(operation: ListKeys | ListPrefixes) -> None:
    encode_prefix(operation.prefix)
    _require(1 <= operation.limit <= NUMBER_MAX, "limit must be positive")
    if operation.start_after is not None:
        encode_key(operation.start_after)


def _validate_id(operation: RemoveNode | TransferLeadership | ReadSnapshot) -> None:
    match operation:
        case RemoveNode(node=node):
            _require(len(node) == NODE_ID_BYTES, "a node id has 16 bytes")
        case TransferLeadership(node=node):
            _require(len(node) in (0, NODE_ID_BYTES), "a node id has 16 bytes")
        case ReadSnapshot(backup=backup):
            _require(len(backup) == BACKUP_ID_BYTES, "a backup's id has 16 bytes")
        case unknown:
            assert_never(unknown)


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise InvalidOperation(otherwise)
