"""Validation: the operations that a gateway accepts from clients."""

from typing import assert_never, get_args

from protocol.address import InvalidAddressText, parse_address
from protocol.config import NodeConfig
from protocol.keys import InvalidKey, encode_key, encode_prefix
from protocol.messages.client import (
    AddNode,
    Get,
    GetMany,
    Hello,
    KeepAlive,
    ListKeys,
    ListLeases,
    ListPrefixes,
    ModalRead,
    Operation,
    ReadChanges,
    ReadSnapshot,
    RemoveNode,
    Scan,
    Status,
    TransferLeadership,
)
from protocol.messages.rights import CheckRight, ListUsers, WhoAmI
from protocol.ranges import COUNTER_MAX, ID_BYTES, NUMBER_MAX
from protocol.state.batches import InvalidOperation, check_write, require
from protocol.state.commands import Write
from protocol.state.limits import BATCH_OPERATIONS_MAX, LEASES_NAMED_MAX
from protocol.state.user_commands import UserCommand

USERS_NEED_KEY = (
    "this node has no key, and would not start again once there are users: make keys by 'skiff "
    "keygen cluster DIR' and give the nodes key, or accept unauthenticated connections by "
    "--insecure"
)

_USER_COMMANDS = frozenset(get_args(UserCommand))


def validate(operation: Operation, config: NodeConfig) -> None:
    """Check an operation by the settings of the node.

    Raises:
        InvalidOperation: with a sentence that says what is wrong.
    """
    try:
        _validate(operation, config)
    except (InvalidKey, InvalidAddressText) as error:
        raise InvalidOperation(str(error)) from None


def _validate(operation: Operation, config: NodeConfig) -> None:
    match operation:
        case Write():
            _validate_write(operation, config)
        case Get(key=key):
            encode_key(key)
            if operation.max_staleness_ms or operation.min_revision:
                _validate_mode(operation)
        case GetMany():
            _validate_many(operation)
        case ListKeys() | ListPrefixes() | Scan():
            _validate_list(operation)
        case ReadChanges():
            _validate_changes(operation)
        case KeepAlive() | ListLeases() | CheckRight():
            _validate_leases(operation)
        case _:
            _validate_administration(operation)


def _validate_write(write: Write, config: NodeConfig) -> None:
    if type(write.command) in _USER_COMMANDS:
        require(config.may_have_users, USERS_NEED_KEY)
    check_write(write, config.value_bytes_max)


def _validate_administration(
    operation: AddNode
    | RemoveNode
    | TransferLeadership
    | ReadSnapshot
    | Hello
    | Status
    | ListUsers
    | WhoAmI,
) -> None:
    match operation:
        case AddNode(address=address):
            parse_address(address)
        case RemoveNode() | TransferLeadership() | ReadSnapshot():
            _validate_id(operation)
        case Hello() | Status() | ListUsers() | WhoAmI():
            pass
        case unknown:
            assert_never(unknown)


def _validate_many(operation: GetMany) -> None:
    require(
        len(operation.keys) <= BATCH_OPERATIONS_MAX,
        f"at most {BATCH_OPERATIONS_MAX} keys are read together, not {len(operation.keys)}",
    )
    for key in operation.keys:
        encode_key(key)
    _validate_mode(operation)


def _validate_list(operation: ListKeys | ListPrefixes | Scan) -> None:
    encode_prefix(operation.prefix)
    _validate_limit(operation.limit)
    if operation.start_after is not None:
        encode_key(operation.start_after)
    if isinstance(operation, Scan):
        require(len(operation.scan) == ID_BYTES, "the id of a scan has 16 bytes")
        require(0 <= operation.revision <= NUMBER_MAX, "revision must not be negative")
    _validate_mode(operation)


def _validate_leases(operation: KeepAlive | ListLeases | CheckRight) -> None:
    match operation:
        case CheckRight(prefix=prefix, leases=leases):
            encode_prefix(prefix)
            _require_few(leases)
        case KeepAlive(leases=leases):
            require(len(leases) > 0, "a keep-alive names a lease at least")
            _require_few(leases)
        case ListLeases(limit=limit, start_after=start_after):
            _validate_limit(limit)
            require(start_after <= COUNTER_MAX, "no lease has such an id")
        case unknown:
            assert_never(unknown)


def _require_few(leases: tuple[int, ...]) -> None:
    require(
        len(leases) <= LEASES_NAMED_MAX,
        f"at most {LEASES_NAMED_MAX} leases are named together, not {len(leases)}",
    )


def _validate_limit(limit: int) -> None:
    require(1 <= limit <= NUMBER_MAX, "limit must be positive")


def _validate_changes(operation: ReadChanges) -> None:
    encode_prefix(operation.prefix)
    for number in (operation.after, operation.position, operation.min_revision):
        require(
            0 <= number <= COUNTER_MAX,
            f"a revision or position of changes must be from 0 to {COUNTER_MAX}, not {number}",
        )


def _validate_mode(operation: ModalRead) -> None:
    staleness, revision = operation.max_staleness_ms, operation.min_revision
    require(0 <= staleness <= NUMBER_MAX, "max_staleness_ms must not be negative")
    require(0 <= revision <= NUMBER_MAX, "min_revision must not be negative")


def _validate_id(operation: RemoveNode | TransferLeadership | ReadSnapshot) -> None:
    match operation:
        case RemoveNode(node=node):
            require(len(node) == ID_BYTES, "a node id has 16 bytes")
        case TransferLeadership(node=node):
            require(len(node) in (0, ID_BYTES), "a node id has 16 bytes")
        case ReadSnapshot(backup=backup):
            require(len(backup) == ID_BYTES, "a backup's id has 16 bytes")
        case unknown:
            assert_never(unknown)
