"""Lock: at most one holder at a time, first come, first served.

It is held as long as its client keeps its lease alive. A process that is stopped for longer than
the lease, or cut off from the cluster, loses it without noticing at once; two processes may then
believe that they hold it. So protect what it guards by its token: writes to skiff by
``fence=lock``, others by comparing ``lock.token`` where they take effect. The same holds when
another process removes the key of the holder: that is noticed only at the end.
"""

from protocol.coordination.line import Line
from skiff.arguments import check_key
from skiff.recipes.holder import Holder
from skiff.recipes.turn import Contest


class Lock(Holder):
    """A lock of a blocking client; ``with`` acquires and releases it. It is not reentrant.

    ``lost`` is set once the lock is lost, and the end of the ``with`` block raises ``LockLost``.
    """


def lock_contest(name: str, ttl: float, timeout: float | None) -> Contest:
    """Return the contest for a lock.

    Raises:
        InvalidRequest: the name is no key.
    """
    name = check_key(name)
    prefix = f"{name}/lock-"
    return Contest("lock", name, Line(prefix), prefix, ttl, timeout)
