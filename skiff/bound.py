"""Bound objects: what holds sockets or processes and so can be neither pickled nor copied."""

from typing import NoReturn


class BoundToProcess:
    """Base of the classes whose instances belong to the process that made them."""

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled, and to be copied by ``copy``.

        Raises:
            TypeError: always.
        """
        name = type(self).__name__
        raise TypeError(
            f"a {name} holds sockets or processes of this process and can be neither pickled nor "
            "copied; pass its address and make another one there"
        )
