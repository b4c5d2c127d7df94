"""Child: a command that skiff runs, from its start to its exit code."""

import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import IO

import msgspec

from protocol.deadlines import NEVER
from skiff.cli import output
from skiff.cli.failures import CommandFailed, ExitCode
from skiff.cli.signals import SIGNALLED, SIGNALS, SignalInbox

LOOK_SECONDS = 0.2  # between two looks at whether what protects the command is lost
USER_SIGNALS = (signal.SIGUSR1, signal.SIGUSR2)  # which mean what the command makes of them
PASSED_SIGNALS = (*SIGNALS, signal.SIGQUIT, *USER_SIGNALS)
TERMINAL_SIGNALS = (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)  # which a terminal sends


class Protection(msgspec.Struct, frozen=True):
    """The lock, claim or place that a command runs under; once it is lost, the command is ended."""

    described: str  # as in "lock 'jobs'"
    lost: threading.Event
    kill_after: float  # seconds from SIGTERM to SIGKILL, once it is lost


class Ending(msgspec.Struct, frozen=True):
    """The end of a command."""

    code: int  # as a shell reports it
    signalled: int | None  # the first signal to skiff meanwhile that asks for an end


def run_child(
    command: Sequence[str],
    variables: Mapping[str, str],
    *,
    given: bytes | None = None,
    protection: Protection | None = None,
) -> Ending:
    """Run a command to its end, with more variables in its environment.

    ``given`` is its standard input, None for that of skiff. Signals to skiff are passed on to it.
    Once its protection is lost, it is ended.

    Raises:
        CommandFailed: it cannot be started.
    """
    # SIGCHLD, as it ends the wait for the next signal.
    with SignalInbox(*PASSED_SIGNALS, signal.SIGCHLD) as inbox, _standard_input(given) as source:
        process = _start(command, variables, source)
        try:
            signalled = _supervise(process, inbox, protection)
        except BaseException:
            process.kill()  # or it would run on, unprotected
            process.wait()
            raise
    code = process.returncode
    return Ending(code if code >= 0 else SIGNALLED - code, signalled)


def _start(
    command: Sequence[str], variables: Mapping[str, str], source: "IO[bytes] | int | None"
) -> "subprocess.Popen[bytes]":
    # As bytes: a key is UTF-8, whatever the locale.
    added = {name.encode(): text.encode() for name, text in variables.items()}
    try:
        return subprocess.Popen(command, stdin=source, env={**os.environb, **added})
    except OSError as error:
        is_absent = isinstance(error, FileNotFoundError)
        code = ExitCode.NO_SUCH_COMMAND if is_absent else ExitCode.NOT_STARTED
        raise CommandFailed(f"cannot run {command[0]!r}: {error.strerror}", code) from None


@contextmanager
def _standard_input(given: bytes | None) -> "Iterator[IO[bytes] | int | None]":
    """Yield the standard input of a command: a file, as a command may end without reading it."""
    if not given:
        yield None if given is None else subprocess.DEVNULL
        return
    with tempfile.TemporaryFile() as file:
        file.write(given)
        file.seek(0)
        yield file


def _supervise(
    process: "subprocess.Popen[bytes]", inbox: SignalInbox, protection: Protection | None
) -> int | None:
    """Pass signals on until the command has ended; return the first that asks for an end."""
    signalled: int | None = None
    kill_at: float | None = None
    while process.poll() is None:
        now = time.monotonic()
        if protection is not None and protection.lost.is_set() and kill_at is None:
            output.note(f"{protection.described} is lost: the command gets SIGTERM")
            process.terminate()
            kill_at = now + protection.kill_after
        elif kill_at is not None and now >= kill_at:
            output.note("the command has not ended: it gets SIGKILL")
            process.kill()
            kill_at = NEVER
        number = inbox.next(LOOK_SECONDS if kill_at is None else min(LOOK_SECONDS, kill_at - now))
        if number is not None and number != signal.SIGCHLD:
            if number not in USER_SIGNALS:
                signalled = signalled or number
            if not _is_from_terminal(number):
                process.send_signal(number)
    late = [number for number in inbox.take_unread() if number not in USER_SIGNALS]
    return signalled or next(iter(late), None)


def _is_from_terminal(number: int) -> bool:
    """Return whether the command has the signal already, as the terminal's foreground group has.

    A second SIGINT makes many programs give up their orderly end. Who has sent it is not known, so
    that one of ``kill`` is taken for the terminal's.
    """
    if number not in TERMINAL_SIGNALS:
        return False
    try:
        terminal = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)
