"""Encoding of values as MessagePack: messages, table rows, snapshots and backups."""

from collections.abc import Callable
from typing import Any

import msgspec

encode: Callable[[Any], bytes] = msgspec.msgpack.Encoder().encode
