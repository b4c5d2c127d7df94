"""Descriptors: the limit of open files of a process, and the numbers of its standard streams."""

import contextlib
import os
import resource
import sys

DESCRIPTORS_MAX = 65_536  # more than any actor uses; some systems have no limit
STANDARD_MAX = 2  # standard error has the highest number of the standard streams
OPEN_MAX = 10_240  # macOS accepts no higher limit, even if it reports none


def raise_limit() -> int:
    """Raise this process's limit of descriptors as far as allowed; return the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = OPEN_MAX if sys.platform == "darwin" else DESCRIPTORS_MAX
    wanted = most if hard == resource.RLIM_INFINITY else min(hard, most)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return DESCRIPTORS_MAX if soft == resource.RLIM_INFINITY else soft


def fill_standard_streams() -> None:
    """Open the null device in place of each closed standard stream.

    Else a socket or a file of the database would get its number, and what a library prints there.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= STANDARD_MAX:
        pass
    os.close(descriptor)
