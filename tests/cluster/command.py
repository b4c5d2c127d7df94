"""Runs the command line as users do: as a program with its own standard streams."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from tempfile import TemporaryFile

from skiff.testing.program import Program

SECONDS_MAX = 40.0


def environment(settings: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return this environment without variables that would change the command's behaviour."""
    strange = ("SKIFF_", "NO_COLOR", "FORCE_COLOR", "COLUMNS")
    kept = {name: text for name, text in os.environ.items() if not name.startswith(strange)}
    key = os.environ.get("SKIFF_KEY")  # only with SKIFF_TEST_KEYS
    given = {**kept, **({"SKIFF_KEY": key} if key else {}), **(settings or {})}
    if "SKIFF_KEY" in given and "SKIFF_URL" in given:
        given["SKIFF_URL"] = given["SKIFF_URL"].replace("skiff://", "skiffs://")
    return given


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-P", "-m", "skiff", *arguments]


def run(
    *arguments: str, given: bytes = b"", settings: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run a command to its end."""
    with TemporaryFile() as read, TemporaryFile() as printed, TemporaryFile() as told:
        read.write(given)
        read.seek(0)
        streams = (read.fileno(), printed.fileno(), told.fileno())
        code = Program(arguments, streams, environment(settings)).wait(SECONDS_MAX)
        printed.seek(0)
        told.seek(0)
        return subprocess.CompletedProcess(arguments, code, printed.read(), told.read())


def start(
    arguments: Sequence[str], settings: Mapping[str, str] | None = None
) -> "subprocess.Popen[bytes]":
    """Start a command that runs until it is ended."""
    return subprocess.Popen(
        command(*arguments),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(settings),
    )
