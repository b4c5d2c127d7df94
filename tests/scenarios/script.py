"""Script: a scenario file of comments, commands and the expected output of each."""

from collections.abc import Iterator
from difflib import unified_diff
from pathlib import Path

import msgspec
import pytest

from tests.scenarios.notation import Mistake
from tests.scenarios.scene import Scene
from tests.scenarios.trace import INDENT
from tests.scenarios.verbs import perform

COMMENT, COMMAND = "#", "> "
NO_EVENT = "nothing"


class BadScript(Exception):
    """A script is invalid; the message starts with file and line."""


class Line(msgspec.Struct, frozen=True):
    """A line of a script that is not output."""

    number: int
    text: str

    @property
    def is_command(self) -> bool:
        """Whether the line is a command."""
        return self.text.startswith(COMMAND)

    @property
    def command(self) -> tuple[list[str], bool]:
        """Return the words of a command, and whether its output is left out."""
        text = self.text.removeprefix(COMMAND).strip()
        muted = text.startswith("(") and text.endswith(")")
        return (text[1:-1] if muted else text).split(), muted


class Script:
    """A scenario: its commands and their expected output."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.text = path.read_text(encoding="utf-8")
        self._lines = list(self._read())

    def play(self) -> str:
        """Run the script; return it with its actual output."""
        text: list[str] = []
        with pytest.MonkeyPatch.context() as patch:
            scene = Scene(patch)
            for line in self._lines:
                text.append(line.text)
                if line.is_command:
                    text.extend(self._do(scene, line))
        return "\n".join(text).rstrip("\n") + "\n"

    def differences(self) -> str:
        """Return the difference between actual and expected output, empty if there is none."""
        played = self.play().splitlines(keepends=True)
        expected = self.text.splitlines(keepends=True)
        return "".join(unified_diff(expected, played, f"{self.path.name} expects", "came out"))

    def rewrite(self) -> bool:
        """Replace the expected output by the actual one; return whether it changed."""
        played = self.play()
        if played == self.text:
            return False
        self.path.write_text(played, encoding="utf-8")
        self.text = played
        return True

    def _read(self) -> Iterator[Line]:
        output_may_follow = False
        for number, text in enumerate(self.text.splitlines(), start=1):
            if text.startswith(INDENT) and output_may_follow:
                continue
            if text.strip() and not text.startswith((COMMENT, COMMAND)):
                raise BadScript(f"{self.path.name}:{number}: this is no command and no output")
            output_may_follow = text.startswith(COMMAND)
            yield Line(number, text)

    def _do(self, scene: Scene, line: Line) -> list[str]:
        words, muted = line.command
        place = f"{self.path.name}:{line.number}"
        try:
            perform(scene, words)
        except Mistake as mistake:
            raise BadScript(f"{place}: {mistake}") from mistake
        except Exception as error:
            error.add_note(f"{place}: {line.text}")
            error.add_note("\n".join(scene.trace.take()))
            raise
        told = scene.trace.take()
        return [] if muted else told or [INDENT + NO_EVENT]
