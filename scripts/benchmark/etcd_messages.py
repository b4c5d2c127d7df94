"""etcd messages: the part of etcd's gRPC interface in use, described at import.

Only the fields in use are described; protobuf skips unknown ones.
"""

from typing import Any

from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

PACKAGE = "etcdserverpb"
LOCK_PACKAGE = "v3lockpb"

# Message → field → (number, type). "*" marks a repeated field, a capital another message.
_MESSAGES: dict[str, dict[str, tuple[int, str]]] = {
    "ResponseHeader": {"member_id": (2, "uint64"), "revision": (3, "int64")},
    "KeyValue": {"key": (1, "bytes"), "value": (5, "bytes")},
    "RangeRequest": {
        "key": (1, "bytes"),
        "range_end": (2, "bytes"),
        "limit": (3, "int64"),
        "revision": (4, "int64"),
    },
    "RangeResponse": {
        "header": (1, "ResponseHeader"),
        "kvs": (2, "*KeyValue"),
        "more": (3, "bool"),
    },
    "PutRequest": {"key": (1, "bytes"), "value": (2, "bytes")},
    "PutResponse": {"header": (1, "ResponseHeader")},
    "RequestOp": {"request_put": (2, "PutRequest")},
    "TxnRequest": {"success": (2, "*RequestOp")},
    "TxnResponse": {"header": (1, "ResponseHeader")},
    "StatusRequest": {},
    "StatusResponse": {"header": (1, "ResponseHeader"), "leader": (4, "uint64")},
    "WatchCreateRequest": {"key": (1, "bytes"), "range_end": (2, "bytes")},
    "WatchRequest": {"create_request": (1, "WatchCreateRequest")},
    "WatchResponse": {"watch_id": (2, "int64"), "created": (3, "bool"), "events": (11, "*Event")},
    "Event": {"kv": (2, "KeyValue")},
    "LeaseGrantRequest": {"TTL": (1, "int64")},
    "LeaseGrantResponse": {"ID": (2, "int64")},
    "LeaseKeepAliveRequest": {"ID": (1, "int64")},
    "LeaseKeepAliveResponse": {"ID": (2, "int64"), "TTL": (3, "int64")},
    # Of the package v3lockpb.
    "LockRequest": {"name": (1, "bytes"), "lease": (2, "int64")},
    "LockResponse": {"key": (2, "bytes")},
    "UnlockRequest": {"key": (1, "bytes")},
    "UnlockResponse": {},
}
_SCALARS = {
    "bytes": FieldDescriptorProto.TYPE_BYTES,
    "bool": FieldDescriptorProto.TYPE_BOOL,
    "int64": FieldDescriptorProto.TYPE_INT64,
    "uint64": FieldDescriptorProto.TYPE_UINT64,
}


def _describe_field(name: str, number: int, kind: str) -> FieldDescriptorProto:
    field = FieldDescriptorProto(
        name=name, number=number, label=FieldDescriptorProto.LABEL_OPTIONAL
    )
    if kind.startswith("*"):
        field.label = FieldDescriptorProto.LABEL_REPEATED
    kind = kind.lstrip("*")
    if kind in _SCALARS:
        field.type = _SCALARS[kind]
    else:
        field.type = FieldDescriptorProto.TYPE_MESSAGE
        field.type_name = f".{PACKAGE}.{kind}"
    return field


def _describe_file() -> FileDescriptorProto:
    file = FileDescriptorProto(name="benchmark_etcd.proto", package=PACKAGE, syntax="proto3")
    for name, fields in _MESSAGES.items():
        described = (_describe_field(field, *of) for field, of in fields.items())
        file.message_type.add(name=name).field.extend(described)
    return file


# A separate pool cannot clash with another copy of etcd's messages.
_pool = DescriptorPool()
_pool.Add(_describe_file())


def _message_class(name: str) -> Any:
    return GetMessageClass(_pool.FindMessageTypeByName(f"{PACKAGE}.{name}"))


# `Any`, because a type checker cannot see fields that are described at run time.
RangeRequest: Any = _message_class("RangeRequest")
RangeResponse: Any = _message_class("RangeResponse")
PutRequest: Any = _message_class("PutRequest")
PutResponse: Any = _message_class("PutResponse")
RequestOp: Any = _message_class("RequestOp")
TxnRequest: Any = _message_class("TxnRequest")
TxnResponse: Any = _message_class("TxnResponse")
StatusRequest: Any = _message_class("StatusRequest")
StatusResponse: Any = _message_class("StatusResponse")
WatchCreateRequest: Any = _message_class("WatchCreateRequest")
WatchRequest: Any = _message_class("WatchRequest")
WatchResponse: Any = _message_class("WatchResponse")
LeaseGrantRequest: Any = _message_class("LeaseGrantRequest")
LeaseGrantResponse: Any = _message_class("LeaseGrantResponse")
LeaseKeepAliveRequest: Any = _message_class("LeaseKeepAliveRequest")
LeaseKeepAliveResponse: Any = _message_class("LeaseKeepAliveResponse")
LockRequest: Any = _message_class("LockRequest")
LockResponse: Any = _message_class("LockResponse")
UnlockRequest: Any = _message_class("UnlockRequest")
UnlockResponse: Any = _message_class("UnlockResponse")


def range_of(prefix: str) -> tuple[bytes, bytes]:
    """Return the first key under a prefix, and the first after all of them."""
    first = prefix.encode()
    # The keys under a prefix end where its last byte is one higher.
    return first, first[:-1] + bytes([first[-1] + 1])
