"""The command line: arguments, output and exit codes; the store itself is in the library."""

import sys
from collections.abc import Sequence
from typing import NoReturn

__all__ = ["main"]

INTERRUPTED = 130  # as in ``ExitCode``, which may not be imported yet


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit the process with its exit code."""
    try:
        from skiff.cli.application import run  # noqa: PLC0415 - Ctrl-C may come meanwhile

        sys.exit(run(arguments))
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
