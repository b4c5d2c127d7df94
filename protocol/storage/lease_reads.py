"""Lease reads: which leases there are, as storage answers keep-alives and lists."""

from collections.abc import Callable

from protocol.messages.client import KeepAlive, KeptAlive, LeasePage, ListedLease, ListLeases
from protocol.state.key_leases import decode_lease, find_shared_lease, id_of
from protocol.state.tables import SortedTable

PAGE_LEASES_MAX = 10_000  # in a page
PAGE_ROWS_MAX = 20_000  # read for a page: appends wait meanwhile, and keys' own leases count


class LeaseReads:
    """The leases that clients know: no key's own."""

    def __init__(self, leases: SortedTable, granted: Callable[[], int]) -> None:
        """Read a table; ``granted`` returns the last id that was given to a lease."""
        self._leases = leases
        self._granted = granted

    def keep_alive(self, operation: KeepAlive) -> KeptAlive:
        """Return how long each lease lasts at least; the leader has extended it already."""
        ttls_ms = tuple([self._ttl_ms(lease) for lease in operation.leases])
        return KeptAlive(ttls_ms, self._granted())

    def page(self, operation: ListLeases, revision: int) -> LeasePage:
        """Return a page of the leases, which must be written."""
        limit = min(operation.limit, PAGE_LEASES_MAX)
        found: list[ListedLease] = []
        end = operation.start_after
        for count, row in enumerate(self._leases.scan(id_of(operation.start_after + 1))):
            if len(found) >= limit or count >= PAGE_ROWS_MAX:
                return LeasePage(revision, tuple(found), end, more=True)
            end, lease = decode_lease(*row)
            if not lease.is_own:
                found.append(ListedLease(end, lease.ttl_ms, lease.keys))
        return LeasePage(revision, tuple(found), end, more=False)

    def _ttl_ms(self, lease: int) -> int:
        row = find_shared_lease(self._leases, lease)
        return 0 if row is None else row.left_ms or row.ttl_ms
