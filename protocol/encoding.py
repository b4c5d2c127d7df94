"""Encoding of values as MessagePack: messages, table rows, snapshots and backups."""

from collections.abc import Callable
from typing import Any

import msgspec

# What ``encode`` raises for an object that MessagePack cannot carry.
UNENCODABLE = (TypeError, ValueError, OverflowError, RecursionError)

encode: Callable[[Any], bytes] = msgspec.msgpack.Encoder().encode
