"""BoundToProcess: base of objects that use sockets or processes: no pickling, no copying."""

from typing import NoReturn


class BoundToProcess:
    """An object that belongs to the process that created it."""

    def __reduce__(self) -> NoReturn:
        """Refuse ``pickle`` and ``copy``.

        Raises:
            TypeError: always.
        """
        raise TypeError(
            f"{type(self).__name__} objects can be neither pickled nor copied, as they use sockets "
            "or processes of this process; pass the address and create another one"
        )
