"""Ending signals: those that the actors leave to their supervisor, from the first instruction on.

Ctrl-C reaches the whole foreground group, also while an actor's interpreter still imports. The
supervisor's thread blocks these signals, and an actor inherits that through ``exec``; what arrived
until it ignores them is dropped. A session or process group of its own would do as well for Ctrl-C,
but job control and a kill of the whole group would no longer reach all processes of a node.
"""

import signal

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def leave_to_supervisor() -> None:
    """Block the ending signals in the calling thread and in the processes that it starts."""
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)


def ignore() -> None:
    """Ignore the ending signals, those included that have arrived while they were blocked."""
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
