"""Older build: a copy of the packages that cannot apply the newest commands."""

import shutil
from pathlib import Path

import protocol
from skiff.testing import Cluster, Node

ROOT = Path(protocol.__file__).parent.parent
PACKAGES = ("protocol", "actors", "skiff")
# By file: the text of this build, and that of a build of state level 1.
OLDER = {
    "protocol/state/levels.py": ("STATE_LEVEL = 4", "STATE_LEVEL = 1"),
    "protocol/state/commands.py": (
        (
            "Remove | RemovePrefix | Increment | Transact\n"
            "StateCommand = KeyCommand | GrantLease | RevokeLease | UserCommand\n"
        ),
        "Remove\nStateCommand = KeyCommand\n",
    ),
}


def copy_older_build(directory: Path) -> None:
    """Copy the packages into a directory, as they would be at state level 1."""
    for package in PACKAGES:
        shutil.copytree(
            ROOT / package, directory / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    for name, (text, older) in OLDER.items():
        file = directory / name
        source = file.read_text()
        assert source.count(text) == 1, f"{name} has {text!r} {source.count(text)} times"
        file.write_text(source.replace(text, older))


class OlderCluster(Cluster):
    """A cluster whose nodes run a copied build until they are upgraded."""

    def __init__(self, build: Path, directory: Path) -> None:
        super().__init__(3, directory=directory)
        self._build = build

    def upgrade(self, node: Node) -> None:
        """Restart a node with this build."""
        node.environment.clear()
        self.restart(node)

    def downgrade(self, node: Node) -> None:
        """Stop a node, and launch it with the copied build."""
        node.terminate()
        node.environment["PYTHONPATH"] = str(self._build)
        node.launch()

    def _new_node(self, *options: str) -> Node:
        node = super()._new_node(*options)
        node.environment["PYTHONPATH"] = str(self._build)
        return node
