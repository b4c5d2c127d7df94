"""ForeignProcess: a server of another store, with its output in a file."""

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

LAST_WORDS = 500  # characters of its output in an error


class ForeignFailed(Exception):
    """A server of another store has ended, or its cluster has no leader in time."""


class ForeignProcess:
    """One server, which may be started again in the same directory."""

    def __init__(self, name: str, directory: Path) -> None:
        """Name it for errors; its output is appended to a file in the directory."""
        self._name = name
        self._output = directory / "output"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        """Start the process in a session of its own, so that Ctrl-C reaches the benchmark only."""
        with self._output.open("ab") as output:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment,
                start_new_session=True,
            )

    def kill(self) -> None:
        """End the process with SIGKILL and return when it is dead."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def check_alive(self) -> None:
        """Raise an error with the last output if the process has ended."""
        if self._process is None or self._process.poll() is not None:
            last_words = self._output.read_text(errors="replace")[-LAST_WORDS:]
            raise ForeignFailed(f"{self._name} has ended: {last_words.strip()}")
