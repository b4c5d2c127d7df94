"""Leasing: the methods on leases, as generators; see ``method``."""

from protocol.client.held_lease import HeldLease
from protocol.messages.client import KeepAlive, KeptAlive, LeasePage, ListLeases
from protocol.state.commands import GrantLease, LeaseEnded, LeaseGranted, NoLease, RevokeLease
from skiff.arguments import check_change, lease_id, milliseconds_of
from skiff.errors import LeaseExpired
from skiff.method import ExactlyOnce, Idempotent, Method
from skiff.outcomes import applied, expect
from skiff.records import LeaseInfo
from skiff.steady import steady_seconds

PAGE_LEASES = 10_000


def grant(ttl: float) -> Method[HeldLease]:
    """Begin a lease; its time counts from before it was asked for."""
    command = GrantLease(milliseconds_of(ttl))
    check_change(command)
    since = steady_seconds()
    outcome = yield ExactlyOnce(command)
    lease = expect(applied(outcome), LeaseGranted).lease
    return HeldLease(lease, command.ttl_ms / 1000, since)


def keep_alive(leases: tuple[int, ...]) -> Method[tuple[int, ...]]:
    """Keep leases alive; return the milliseconds of each, 0 if it has ended."""
    outcome = yield Idempotent(KeepAlive(leases))
    return expect(outcome, KeptAlive).ttls_ms


def keep_one_alive(held: HeldLease) -> Method[None]:
    """Keep a lease alive; one that is lost is not extended, as its holder counts on it no more."""
    since = steady_seconds()
    if not held.is_lost:
        (ttl_ms,) = yield from keep_alive((held.id,))
        held.extend(ttl_ms / 1000, since)
    if held.is_lost:
        raise LeaseExpired(f"lease {held.id} has ended")


def keep_alive_by_id(lease: object) -> Method[float]:
    """Keep a lease of any client alive; return its seconds."""
    number = lease_id(lease)
    kept = expect((yield Idempotent(KeepAlive((number,)))), KeptAlive)
    (ttl_ms,) = kept.ttls_ms
    if not ttl_ms:
        applied(NoLease(number, has_ended=number <= kept.granted))
    return ttl_ms / 1000


def revoke(held: HeldLease) -> Method[int]:
    """End a lease; return the number of its keys, 0 if it has ended already."""
    held.lose()
    outcome = yield ExactlyOnce(RevokeLease(held.id))
    return 0 if isinstance(outcome, NoLease) else expect(outcome, LeaseEnded).count


def revoke_by_id(lease: object) -> Method[int]:
    """End a lease of any client; return the number of its keys."""
    outcome = yield ExactlyOnce(RevokeLease(lease_id(lease)))
    return expect(applied(outcome), LeaseEnded).count


def leases() -> Method[list[LeaseInfo]]:
    """Return all leases that clients know."""
    found: list[LeaseInfo] = []
    page = LeasePage(0, (), 0, more=True)
    while page.more:
        page = expect((yield Idempotent(ListLeases(PAGE_LEASES, page.end))), LeasePage)
        found += [LeaseInfo(each.lease, each.ttl_ms / 1000, each.keys) for each in page.leases]
    return found
