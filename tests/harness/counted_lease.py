"""CountedLease: a held lease that counts how often the end of any is looked at."""

from protocol.client.held_lease import HeldLease


class CountedLease(HeldLease):
    """A lease whose class counts the looks at all of its ends."""

    looked_at = 0

    def __getattribute__(self, name: str) -> object:
        if name == "valid_until":
            CountedLease.looked_at += 1
        return super().__getattribute__(name)
