"""Reads: the methods that read keys and their values, as generators; see ``method``."""

import uuid
from collections.abc import Iterable
from typing import Any

from msgspec.structs import replace

from protocol.client.initial_entries import ATTEMPTS_MAX, InitialEntries
from protocol.messages.client import FoundMany, Get, GetMany, ListKeys, ListPrefixes, Names, Page
from protocol.state.commands import Found, Missing
from skiff.arguments import (
    ReadMode,
    check_bool,
    check_key,
    check_keys,
    check_limit,
    check_prefix,
    check_start,
)
from skiff.errors import StreamClosed
from skiff.method import Anchor, Idempotent, Method
from skiff.outcomes import expect
from skiff.records import Entry
from skiff.scan import COUNT_PAGE, ScanPages
from skiff.values import check_type, decode_value, entry_of

PAGE_NAMES = 10_000


def get(key: str, type_: Any, default: Any, mode: ReadMode) -> Method[Any]:
    """Return a key's value, or the default."""
    check_type(type_)
    found = yield from _find(check_key(key), mode)
    return default if found is None else decode_value(key, found.value, type_)


def get_entry(key: str, type_: Any, mode: ReadMode) -> Method[Entry[Any] | None]:
    """Return a key's value with its revisions and version, or None."""
    check_type(type_)
    key = check_key(key)
    found = yield from _find(key, mode)
    return None if found is None else entry_of(key, found, type_)


def get_many(keys: Iterable[str], type_: Any, mode: ReadMode) -> Method[dict[str, Any]]:
    """Return the values of the keys that exist, at one revision."""
    asked = check_keys(keys)
    check_type(type_)
    if not asked:
        return {}
    outcome = expect((yield Idempotent(GetMany(asked, *mode))), FoundMany)
    pairs = zip(asked, outcome.found, strict=True)
    return {
        key: decode_value(key, found.value, type_)
        for key, found in pairs
        if isinstance(found, Found)
    }


def list_keys(
    prefix: str, limit: int | None, start_after: str | None, mode: ReadMode, *, reverse: bool
) -> Method[list[str]]:
    """Return the sorted keys that begin with a prefix."""
    check_bool("reverse", reverse)
    prefix, start_after = check_prefix(prefix), check_start(start_after)
    return _list(ListKeys(prefix, PAGE_NAMES, start_after, *mode, reverse), limit)


def get_prefixes(prefix: str, mode: ReadMode) -> Method[list[str]]:
    """Return every path that directly holds a key, sorted."""
    return _list(ListPrefixes(check_prefix(prefix), PAGE_NAMES, None, *mode), None)


def count(prefix: str, mode: ReadMode) -> Method[int]:
    """Return the number of keys that begin with a prefix, at one revision."""
    for _ in range(ATTEMPTS_MAX - 1):
        try:
            return (yield from _count(prefix, mode))
        except StreamClosed:  # the node no longer has the view
            continue
    return (yield from _count(prefix, mode))


def _count(prefix: str, mode: ReadMode) -> Method[int]:
    pages = ScanPages(prefix, mode, counts=True)
    total = 0
    while not pages.is_over:
        total += (yield from pages.read(COUNT_PAGE)).count
    return total


def entries(prefix: str, enough: int | None = None) -> Method[InitialEntries]:
    """Read the entries under a prefix, all or ``enough`` of the first, at one revision."""
    initial, anchor = InitialEntries(prefix), Anchor()
    while not initial.is_over and not initial.has(enough):
        request = Idempotent(initial.request(uuid.uuid4().bytes, enough), anchor=anchor)
        try:
            initial.take(expect((yield request), Page))
        except StreamClosed:  # the node no longer has the view
            if not initial.begin_anew():
                raise
            anchor = Anchor()
    return initial


def _find(key: str, mode: ReadMode) -> Method[Found | None]:
    outcome = yield Idempotent(Get(key, *mode))
    return None if isinstance(outcome, Missing) else expect(outcome, Found)


def _list(page: ListKeys | ListPrefixes, limit: int | None) -> Method[list[str]]:
    """Return the names of all pages, up to the limit."""
    check_limit(limit)
    names: list[str] = []
    while limit is None or len(names) < limit:
        if limit is not None:
            page = replace(page, limit=min(limit - len(names), PAGE_NAMES))
        outcome = expect((yield Idempotent(page)), Names)
        names.extend(outcome.names)
        if not outcome.more:
            break
        page = replace(page, start_after=names[-1])
    return names
