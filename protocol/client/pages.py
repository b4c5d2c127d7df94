"""Pages of a scan: each continues the one before, in the same node's view."""

from msgspec.structs import replace

from protocol.messages.client import Page, Scan

PAGE_ENTRIES = 1_000


class Pages:
    """The pages of one scan."""

    def __init__(self, scan: Scan) -> None:
        """Begin with the first page of a scan."""
        self.is_over = False
        self._next = scan

    def request(self, limit: int, *, is_last: bool = False) -> Scan:
        """Return the request of the next page, of at most ``limit`` entries; none follows those."""
        return replace(self._next, limit=limit, is_last=is_last)

    def take(self, page: Page) -> None:
        """Go on after a page."""
        self.is_over = not page.more
        self._next = replace(self._next, start_after=page.end, revision=page.revision)
