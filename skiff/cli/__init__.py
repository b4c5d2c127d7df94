"""The command line: what it reads, what it prints and how it ends, but nothing of the store."""

from skiff.cli.application import main

__all__ = ["main"]
