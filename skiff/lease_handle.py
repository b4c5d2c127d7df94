"""Lease handle: what the leases of both clients share. It belongs to the process that made it."""

import os
from abc import ABC, abstractmethod

from protocol.client.held_lease import HeldLease
from skiff.bound import BoundToProcess
from skiff.errors import SkiffError
from skiff.steady import steady_seconds


class LeaseHandle(BoundToProcess, ABC):
    """A lease that was granted to a client, which counts on it by the steady clock."""

    def __init__(self, held: HeldLease) -> None:
        """Wrap a lease."""
        self._pid = os.getpid()
        self._held = held

    def __repr__(self) -> str:
        name = type(self).__name__
        return f"<{name} {self.id} of {self.ttl:g} s, {self.remaining:.1f} s left>"

    @property
    def id(self) -> int:
        """Its number in the cluster."""
        return self._held.id

    @property
    def ttl(self) -> float:
        """The seconds that it lasts without a keep-alive."""
        return self._held.ttl

    @property
    def remaining(self) -> float:
        """The seconds for which it certainly lasts; 0 once it is lost."""
        return self._held.remaining(steady_seconds())

    def abandon(self) -> None:
        """Keep the lease alive no longer, without a request: it expires."""
        self.detach().lose()

    def detach(self) -> HeldLease:
        """Keep the lease alive no longer; return it for its next user, as long as it lasts."""
        self._drop()
        return self._held

    @abstractmethod
    def _drop(self) -> None:
        """Keep the lease alive no longer, and set its event."""

    @property
    def _is_inherited(self) -> bool:
        """Whether it is that of the parent of this forked process."""
        return self._pid != os.getpid()

    def _check_process(self) -> None:
        if self._is_inherited:
            raise SkiffError(f"lease {self.id} is held by the parent of this process")
