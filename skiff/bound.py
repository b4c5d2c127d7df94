"""BoundToProcess: base of objects with sockets or processes, which cannot be pickled or copied."""

from typing import NoReturn


class BoundToProcess:
    """An object that belongs to the process that created it."""

    def __reduce__(self) -> NoReturn:
        """Refuse ``pickle`` and ``copy``.

        Raises:
            TypeError: always.
        """
        name = type(self).__name__
        raise TypeError(
            f"a {name} holds sockets or processes of this process and can be neither pickled nor "
            "copied; pass the address and create another one from it"
        )
