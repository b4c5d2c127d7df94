"""The command line: arguments, output and exit codes; the store itself is in the library."""

from skiff.cli.application import main

__all__ = ["main"]
