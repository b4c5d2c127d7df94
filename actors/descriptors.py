"""Descriptors: how many of them the system lets a process have."""

import contextlib
import resource
import sys

DESCRIPTORS_MAX = 65_536  # more than any actor uses; some systems have no limit
OPEN_MAX = 10_240  # where macOS has no limit, it still accepts no more than this


def raise_limit() -> int:
    """Let this process have as many descriptors as it may; return how many that are."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = OPEN_MAX if sys.platform == "darwin" else DESCRIPTORS_MAX
    wanted = most if hard == resource.RLIM_INFINITY else min(hard, most)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return DESCRIPTORS_MAX if soft == resource.RLIM_INFINITY else soft
