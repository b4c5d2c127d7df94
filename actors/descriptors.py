"""Descriptors: the limit of open files of a process."""

import contextlib
import resource
import sys

DESCRIPTORS_MAX = 65_536  # more than any actor uses; some systems have no limit
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
