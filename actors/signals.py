"""Termination signals: left to the supervisor by the actors, from their first instruction on.

Ctrl-C reaches the whole foreground process group, even while an actor's interpreter still imports.
The supervisor's thread therefore blocks these signals, which an actor inherits;
signals that arrive before the actor ignores them are dropped. A process group of its own would also
keep Ctrl-C away, but then job control and a kill of the group would miss the actors.
"""

import signal

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def leave_to_supervisor() -> None:
    """Block the termination signals in the calling thread and in the processes it starts."""
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)


def ignore() -> None:
    """Ignore the termination signals, including those that arrived while blocked."""
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
