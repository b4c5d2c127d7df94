"""A stranger's project: tests in a directory of their own, with skiff installed beside them.

The plugin is found by its entry point, as after an install: metadata of this checkout lies on the
path of the program that runs the tests.
"""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import skiff

ROOT = Path(__file__).parents[2]
SECONDS_MAX = 50.0
INI = "[pytest]\nfilterwarnings = error\n"


class Project:
    """A project with tests that use the plugin."""

    def __init__(self, place: Path) -> None:
        """Make it in a directory."""
        self.place = place / "project"
        self.place.mkdir()
        self.temporary = place / "temporary"  # where its clusters are
        self.temporary.mkdir()
        self.configure("")
        self._metadata = place / "installed"
        _install(self._metadata)

    def configure(self, lines: str) -> None:
        """Write its configuration."""
        (self.place / "pytest.ini").write_text(INI + lines)

    def write(self, source: str, name: str = "test_it.py") -> None:
        """Write a file of it."""
        (self.place / name).write_text(source)

    def start(self, *options: str) -> "subprocess.Popen[str]":
        """Start its tests."""
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "pytest", "-q", "-p", "no:cacheprovider", *options],
            cwd=self.place,
            env=self._environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *options: str) -> str:
        """Run its tests; return what that prints."""
        with self.start(*options) as running:
            printed, _ = running.communicate(timeout=SECONDS_MAX)
        return printed

    def leftovers(self) -> list[Path]:
        """Return what its clusters have left behind."""
        return [each for each in self.temporary.iterdir() if not each.name.startswith("pytest-")]

    def _environment(self) -> dict[str, str]:
        kept = {
            name: text
            for name, text in os.environ.items()
            if not name.startswith(("PYTEST_", "SKIFF_"))
        }
        path = os.pathsep.join([str(self._metadata), str(ROOT)])
        return {**kept, "PYTHONPATH": path, "TMPDIR": str(self.temporary)}


def _install(place: Path) -> None:
    """Write the metadata that an install of this checkout writes."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    information = place / f"skiff_kv-{skiff.__version__}.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {skiff.__version__}\n"
    )
    (information / "entry_points.txt").write_text(
        "\n".join(
            f"[{group}]\n" + "".join(f"{name} = {place}\n" for name, place in points.items())
            for group, points in project["entry-points"].items()
        )
    )
