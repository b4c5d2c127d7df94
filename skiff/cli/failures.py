"""Failures of a command: the exit code and the message of each error."""

import os
from enum import IntEnum

import typer

from skiff import errors


class ExitCode(IntEnum):
    """Exit codes, which scripts may rely on."""

    OK = 0
    ERROR = 1
    USAGE = 2
    NOT_FOUND = 3
    CONFLICT = 4
    UNAVAILABLE = 5
    TIMEOUT = 6
    REMOVED = 7
    DENIED = 8
    NOT_STARTED = 126  # as shells report a command that cannot be executed
    NO_SUCH_COMMAND = 127  # likewise
    INTERRUPTED = 130  # 128 + SIGINT, as shells report it
    READER_GONE = 141  # 128 + SIGPIPE, as shells report it


class CommandFailed(Exception):
    """A failure that is none of the library's errors."""

    def __init__(self, message: str, code: ExitCode = ExitCode.ERROR) -> None:
        super().__init__(message)
        self.code = code


# The first matching class decides.
EXIT_CODES: dict[type[Exception], ExitCode] = {
    errors.RevisionMismatch: ExitCode.CONFLICT,
    errors.TransactionConflict: ExitCode.CONFLICT,
    errors.LeaseNotFound: ExitCode.NOT_FOUND,
    errors.LeaseExpired: ExitCode.CONFLICT,
    errors.Fenced: ExitCode.CONFLICT,
    errors.LockLost: ExitCode.CONFLICT,
    errors.NotInteger: ExitCode.CONFLICT,
    errors.CounterOverflow: ExitCode.CONFLICT,
    errors.PermissionDenied: ExitCode.DENIED,
    errors.UserExists: ExitCode.CONFLICT,
    errors.LastAdministrator: ExitCode.CONFLICT,
    errors.UserNotFound: ExitCode.NOT_FOUND,
    errors.RoleNotFound: ExitCode.NOT_FOUND,
    errors.NodeRemoved: ExitCode.REMOVED,
    errors.UnsafeMembershipChange: ExitCode.CONFLICT,
    errors.PeerNotFound: ExitCode.NOT_FOUND,
    errors.ClientConnectFailed: ExitCode.UNAVAILABLE,
    errors.PeerConnectFailed: ExitCode.UNAVAILABLE,
    errors.StreamClosed: ExitCode.UNAVAILABLE,
    errors.Compacted: ExitCode.UNAVAILABLE,
    errors.Overloaded: ExitCode.UNAVAILABLE,
    errors.StorageFull: ExitCode.UNAVAILABLE,
    errors.TooManyLeases: ExitCode.UNAVAILABLE,
    errors.LeaderElectionTimeout: ExitCode.UNAVAILABLE,
    errors.LockTimeout: ExitCode.TIMEOUT,
    errors.RequestTimeout: ExitCode.TIMEOUT,
    errors.OutcomeUnknown: ExitCode.TIMEOUT,
    errors.InvalidAddress: ExitCode.USAGE,
    errors.InvalidConfig: ExitCode.USAGE,
    errors.InvalidKey: ExitCode.USAGE,
    errors.InvalidRequest: ExitCode.USAGE,
    errors.SerializeFailed: ExitCode.USAGE,
    errors.MissingClusterConfig: ExitCode.USAGE,
}

# Hints for the user; the first matching class decides.
HINTS: dict[type[Exception], str] = {
    errors.RevisionMismatch: "read the key again and retry with its revision",
    errors.UnsafeMembershipChange: "start the nodes that are down, or remove one of them instead; "
    "--force overrides this, and no write succeeds until enough voters are back",
    errors.PeerNotFound: "'skiff member list' shows all members",
    errors.LeaseNotFound: "'skiff lease list' shows all leases",
    errors.PermissionDenied: "'skiff whoami' shows the user; --key or SKIFF_KEY name another one's "
    "key file",
    errors.UserNotFound: "'skiff user list' shows all users",
    errors.RoleNotFound: "'skiff role list' shows all roles and their rights",
    errors.NoNodeReached: "is a node running there? name others by --url or SKIFF_URL",
    errors.ClientConnectFailed: "name other nodes by --url or SKIFF_URL",
    errors.PeerConnectFailed: "is a node running there, started with --standby?",
    errors.Overloaded: "try again in a moment",
    errors.StorageFull: "remove keys, or free disk space; 'skiff health' shows where",
    errors.RequestTimeout: "nothing was changed; 'skiff status' shows which nodes are up",
    errors.OutcomeUnknown: "read again to see whether it was done",
}


def exit_code_of(error: Exception) -> int:
    """Return the exit code for an error."""
    if isinstance(error, CommandFailed):
        return error.code
    if isinstance(error, typer.TyperException):
        return error.exit_code
    codes = (code for kind, code in EXIT_CODES.items() if isinstance(error, kind))
    return next(codes, ExitCode.ERROR)


def describe(error: Exception) -> str:
    """Return an error as one line, with a hint if there is one."""
    if isinstance(error, typer.TyperException):
        return _describe_usage(error)
    message = _one_line(_message(error))
    hint = next((hint for kind, hint in HINTS.items() if isinstance(error, kind)), "")
    return f"{message}{' ' if message.endswith('?') else '; '}{hint}" if hint else message


def _describe_usage(error: typer.TyperException) -> str:
    """Return the error of wrong arguments, with the command that explains them."""
    message = _one_line(error.format_message()).rstrip(".")
    context = getattr(error, "ctx", None)
    command = "skiff" if context is None else context.command_path
    return f"{message[:1].lower()}{message[1:]}{_origin(error, message)}; see '{command} --help'"


def _origin(error: typer.TyperException, message: str) -> str:
    """Return the environment variable that a wrong value may come from."""
    variable = getattr(getattr(error, "param", None), "envvar", None)
    if not isinstance(variable, str) or variable in message or not os.environ.get(variable):
        return ""
    return f"; {variable} is set"


def _message(error: Exception) -> str:
    """Return an error's message, without the errno of an OSError."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)


def _one_line(text: str) -> str:
    """Join lines; keep the spaces within them, which may belong to a key."""
    lines = (line.strip() for line in text.splitlines())
    return " ".join(line for line in lines if line).rstrip(".")
