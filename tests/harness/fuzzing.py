"""Fuzzing: strategies of absurd and mutated messages, derived from the messages' types."""

from collections.abc import Callable
from types import UnionType
from typing import Any

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from msgspec import inspect

from protocol.wire import encode

TEXTS = ("", "a", "a/b", "/", "\0", "x" * 5000, "127.0.0.1:1", "[::1]:1", "\N{SNOWMAN}", "a:99999")
INTEGERS = (0, 1, 2, -1, 1 << 31, (1 << 63) - 1, 1 << 63, (1 << 64) - 1, -(1 << 63))
NODES = (b"A" * 16, b"B" * 16, b"C" * 16, b"D" * 16)
BYTES = (b"", b"A", *NODES, b"c" * 16, bytes(100))
ITEMS_MAX = 3

# The same examples in each run, for reproducible results.
FUZZ = settings(max_examples=300, derandomize=True, database=None, deadline=None)

Strategy = st.SearchStrategy[Any]


def messages(kind: type | UnionType) -> Strategy:
    """Return a strategy of values with the field types of a message, and any numbers."""
    return _strategy(inspect.type_info(kind))


def frames(kind: type | UnionType) -> st.SearchStrategy[bytes]:
    """Return a strategy of bytes: messages, mutated messages, and arbitrary bytes."""
    encoded = messages(kind).map(encode)
    return st.one_of(encoded, _mutated(encoded), st.binary(max_size=100))


@st.composite
def _mutated(draw: Callable[[Strategy], Any], encoded: st.SearchStrategy[bytes]) -> bytes:
    """Draw bytes with a slice replaced by other bytes."""
    original = draw(encoded)
    start = draw(st.integers(0, len(original)))
    end = min(len(original), start + draw(st.integers(0, 4)))
    return bytes(original[:start] + draw(st.binary(max_size=4)) + original[end:])


def _strategy(info: inspect.Type) -> Strategy:
    match info:
        case inspect.StructType():
            fields = [_strategy(field.type) for field in info.fields]
            return st.builds(info.cls, *fields)
        case inspect.UnionType():
            return st.one_of([_strategy(each) for each in info.types])
        case inspect.VarTupleType():
            return st.lists(_strategy(info.item_type), max_size=ITEMS_MAX).map(tuple)
        case inspect.TupleType():
            return st.tuples(*map(_strategy, info.item_types))
        case inspect.EnumType():
            return st.sampled_from(list(info.cls))
        case _:
            return _scalar(info)


def _scalar(info: inspect.Type) -> Strategy:
    match info:
        case inspect.IntType():
            return st.sampled_from(INTEGERS) | st.integers(0, 20)
        case inspect.BytesType():
            return st.sampled_from(BYTES) | st.binary(max_size=20)
        case inspect.StrType():
            return st.sampled_from(TEXTS) | st.text(max_size=5)
        case inspect.BoolType():
            return st.booleans()
        case inspect.NoneType():
            return st.none()
        case inspect.RawType():
            return st.binary(max_size=5).map(encode).map(msgspec.Raw)
        case _:
            raise NotImplementedError(f"no strategy for {info}")
