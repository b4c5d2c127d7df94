"""Spool: a temporary file with all that a stream holds, for what reads it more than once."""

import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import BinaryIO


def is_stream(path: Path) -> bool:
    """Whether a path can be read only once, such as a pipe; False if there is nothing."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


@contextmanager
def spooled(stream: BinaryIO, target: Path) -> Iterator[Path]:
    """Copy a stream to a file beside a target, which its owner alone may read; then remove it.

    Raises:
        OSError: the file cannot be written.
    """
    place = next(each for each in target.absolute().parents if each.is_dir())
    try:
        file = NamedTemporaryFile(prefix="skiff-", dir=place)  # noqa: SIM115 - of mode 0600
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(place)) from None
    with file:
        shutil.copyfileobj(stream, file)
        file.flush()
        yield Path(file.name)
