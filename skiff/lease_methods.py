"""LeaseMethods: the operations of a blocking client on leases of any client, by their ids."""

from skiff import leasing
from skiff.arguments import CLIENT_DEFAULT, LeaseLike, Timeout
from skiff.method import Runner
from skiff.records import LeaseInfo


class LeaseMethods(Runner):
    """Operations on leases; see ``Client``."""

    def leases(self, *, timeout: Timeout = CLIENT_DEFAULT) -> list[LeaseInfo]:
        """Return the leases that have not ended, by their ids, without those that ``ttl=`` made.

        ``timeout`` holds for each page of up to 10,000; each is of the state when it was read.

        Raises:
            RequestTimeout: the deadline passed before a majority confirmed the read.
        """
        return self._run(leasing.leases(), timeout)

    def keep_lease_alive(
        self, lease: LeaseLike | int, *, timeout: Timeout = CLIENT_DEFAULT
    ) -> float:
        """Keep a lease alive once, by its id; return its TTL, in seconds from before the call.

        It is less where a leader was deposed that had kept it alive: repeat the call in time.

        Raises:
            LeaseExpired: it has ended.
            LeaseNotFound: it was never granted.
            InvalidRequest: ``lease`` is neither a lease nor an id.
            RequestTimeout: the deadline passed; it may have been kept alive.
        """
        return self._run(leasing.keep_alive_by_id(lease), timeout)

    def revoke_lease(self, lease: LeaseLike | int, *, timeout: Timeout = CLIENT_DEFAULT) -> int:
        """End a lease by its id, and remove its keys; return their number.

        Raises:
            LeaseExpired: it has ended before.
            LeaseNotFound: it was never granted.
            InvalidRequest: ``lease`` is neither a lease nor an id.
            OutcomeUnknown: the deadline passed; it may have ended, or may yet be ended.
            RequestTimeout: the deadline passed; nothing was changed.
        """
        return self._run(leasing.revoke_by_id(lease), timeout)
