"""Lock: the command that runs another one while it holds a lock."""

from typing import Annotated

import typer

from skiff.cli.child import Protection, run_child
from skiff.cli.coordination import (
    DEFAULT_KILL_AFTER,
    Command,
    KillAfter,
    Ttl,
    Wait,
    cluster,
    turn_of,
)
from skiff.cli.options import DEFAULT_URL, Url
from skiff.recipe_methods import TTL_SECONDS


def lock(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="The name of the lock.", show_default=False)
    ],
    command: Command,
    *,
    timeout: Wait = None,
    ttl: Ttl = TTL_SECONDS,
    kill_after: KillAfter = DEFAULT_KILL_AFTER,
    url: Url = DEFAULT_URL,
) -> None:
    """Run a command while holding a lock.

    For example: skiff lock jobs/nightly -- make report. There is at most one holder at a time,
    first come, first served.

    The exit code is that of the command, 128 and the number of the signal that ended it, 127 or 126
    if it cannot be started, or 6 if the lock was not free within --timeout. If the lock is lost, as
    after a long loss of the cluster, the command gets SIGTERM, and SIGKILL after --kill-after; the
    exit code is then 4. What the command has started itself is left alone.

    SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1 and SIGUSR2 are passed on to the command; the lock is
    released when it has ended. In the foreground of a terminal, SIGINT, SIGHUP and SIGQUIT are not:
    the terminal sends them to both, and one that 'kill' sends to skiff alone does nothing there, so
    send SIGTERM. Another signal that ends a process, such as SIGKILL or SIGALRM, ends skiff alone:
    the command then runs on while the next holder has the lock.

    SKIFF_LOCK_KEY and SKIFF_LOCK_TOKEN in its environment are the fence, by which what the lock
    protects can refuse a holder that has lost it. Each later token is greater.
    """
    described = f"lock {name!r}"
    with cluster(url) as client:
        held = client.lock(name, ttl=ttl, timeout=timeout)
        with turn_of(held, described):
            fence = held.fence
            variables = {"SKIFF_LOCK_KEY": fence.key, "SKIFF_LOCK_TOKEN": str(fence.token)}
            protection = Protection(described, held.lost, kill_after)
            ending = run_child(command, variables, protection=protection)
    raise typer.Exit(ending.code)
