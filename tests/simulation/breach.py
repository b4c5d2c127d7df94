"""What a run ends with when something that always holds did not."""


class Breach(AssertionError):
    """A promise of skiff was broken."""


def expect(holds: bool, otherwise: str) -> None:
    """Raise a breach unless something holds."""
    if not holds:
        raise Breach(otherwise)
