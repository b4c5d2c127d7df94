"""Breach: the failure of an invariant, which ends a run."""


class Breach(AssertionError):
    """An invariant was broken."""


def expect(holds: bool, otherwise: str) -> None:
    """Raise a breach unless the invariant holds."""
    if not holds:
        raise Breach(otherwise)
