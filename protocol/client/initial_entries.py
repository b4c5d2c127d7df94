"""Initial entries of a watch: the entries that are there, by a scan, all at one revision.

The watch delivers them and goes on with the changes after that revision, whether its stream began
before or after: what the stream has from before is dropped, and what it lacks is fetched.
"""

from protocol.client.pages import PAGE_ENTRIES, Pages
from protocol.messages.client import Page, Scan, ScannedEntry
from protocol.state.commands import Event

ATTEMPTS_MAX = 10  # scans; each may lose its view


class InitialEntries:
    """The entries under a prefix."""

    def __init__(self, prefix: str) -> None:
        """Begin before the first page."""
        self.scanned: list[ScannedEntry] = []
        self.revision = 0  # that the entries show
        self._prefix = prefix
        self._pages: Pages | None = None  # of the present scan
        self._attempts = 1

    @property
    def entries(self) -> list[Event]:
        """The entries read so far, as inserts."""
        return [Event(each.mod_revision, each.key, each.value, 0) for each in self.scanned]

    @property
    def is_over(self) -> bool:
        """Whether all entries were read."""
        return self._pages is not None and self._pages.is_over

    def has(self, enough: int | None) -> bool:
        """Whether it has enough entries; None for all."""
        return enough is not None and len(self.scanned) >= enough

    def request(self, scan: bytes, enough: int | None = None) -> Scan:
        """Return the request of the next page; ``scan`` is the id of a scan that begins with it.

        All pages of a scan are read from one node, up to ``enough`` entries; None for all.
        """
        if self._pages is None:
            self._pages = Pages(Scan(scan, self._prefix, 0))
        left = PAGE_ENTRIES + 1 if enough is None else enough - len(self.scanned)
        return self._pages.request(min(left, PAGE_ENTRIES), is_last=left <= PAGE_ENTRIES)

    def take(self, page: Page) -> None:
        """Take the entries of a page."""
        assert self._pages is not None
        self._pages.take(page)
        self.revision = page.revision
        self.scanned += page.entries

    def begin_anew(self) -> bool:
        """Drop the pages, as the node no longer has their view; return False after many scans."""
        if self._attempts >= ATTEMPTS_MAX:
            return False
        self._attempts += 1
        self._pages = None
        self.scanned = []
        return True
