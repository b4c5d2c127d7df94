"""The command that shows a cluster surviving the death of its leader."""

from skiff.cli.options import Json


def demo(as_json: Json = False) -> None:
    """Start three nodes, kill the leader while keys are written, and show that none is lost."""
