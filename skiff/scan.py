"""Scan: the entries under a prefix at one revision, page by page."""

import uuid
from collections.abc import Iterator
from typing import Any

from protocol.client.pages import PAGE_ENTRIES, Pages
from protocol.messages import client as wire
from protocol.messages.client import Page
from skiff.arguments import ReadMode, check_bool, check_limit, check_prefix, check_start
from skiff.method import Anchor, Idempotent, Method
from skiff.outcomes import expect
from skiff.records import Entry
from skiff.values import check_type, entry_of

COUNT_PAGE = 10_000


class ScanPages:
    """The pages of one scan; each continues the one before, in the same node's view."""

    def __init__(
        self,
        prefix: str,
        mode: ReadMode,
        *,
        start_after: str | None = None,
        reverse: bool = False,
        counts: bool = False,
    ) -> None:
        """Name the entries.

        Raises:
            InvalidRequest: an argument is invalid.
        """
        prefix, start_after = check_prefix(prefix), check_start(start_after)
        check_bool("reverse", reverse)
        self._anchor = Anchor()  # to the node that keeps the view
        scan = uuid.uuid4().bytes
        self._pages = Pages(
            wire.Scan(scan, prefix, 0, start_after, *mode, reverse=reverse, counts=counts)
        )

    @property
    def is_over(self) -> bool:
        """Whether the last page was read."""
        return self._pages.is_over

    def read(self, limit: int, *, is_last: bool = False) -> Method[Page]:
        """Read the next page, of at most ``limit`` entries, which are the last ones if said so."""
        request = Idempotent(self._pages.request(limit, is_last=is_last), anchor=self._anchor)
        page = expect((yield request), Page)
        self._pages.take(page)
        return page


class Scan:
    """The entries of one scan, up to a limit; None has no limit."""

    def __init__(self, pages: ScanPages, type_: Any, limit: int | None) -> None:
        """Name the entries and the type of their values.

        Raises:
            InvalidRequest: an argument is invalid.
        """
        check_type(type_)
        check_limit(limit)
        self._pages = pages
        self._type = type_
        self._left = limit

    @property
    def is_over(self) -> bool:
        """Whether all entries were read."""
        return self._pages.is_over or self._left == 0

    def read(self) -> Method[Iterator[Entry[Any]]]:
        """Read the next entries; a value is decoded when its entry is reached."""
        left = PAGE_ENTRIES + 1 if self._left is None else self._left
        page = yield from self._pages.read(min(left, PAGE_ENTRIES), is_last=left <= PAGE_ENTRIES)
        if self._left is not None:
            self._left -= page.count
        return (entry_of(each.key, each, self._type) for each in page.entries)
