"""Embedding: programs that embed a node, for single tests."""

import subprocess
import sys
import textwrap
from pathlib import Path

from skiff.testing import free_port

EMBEDDING = """
    import os, sys, time
    from skiff import Client, Skiff

    node = Skiff(dir=sys.argv[1], port=int(sys.argv[2]), key=os.environ.get("SKIFF_KEY", ""))
    node.start()
    node.wait_for_leader(timeout=15)
    with Client([node.address]) as client:
        client.insert("greeting", "hello world")
        assert client.get("greeting", type=str) == "hello world"
    print(*node.pids.values(), flush=True)
"""


def write_script(tmp_path: Path, *endings: str) -> Path:
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(EMBEDDING) + "\n".join(endings) + "\n")
    return script


def command(script: Path, tmp_path: Path) -> list[str]:
    return [sys.executable, str(script), str(tmp_path / "node"), str(free_port())]


def live(pids: list[int]) -> list[int]:
    """Return those of the processes that have not ended."""
    table = subprocess.run(
        ["ps", "-ax", "-o", "pid=,stat="], capture_output=True, text=True, check=True
    )
    states = dict(line.split()[:2] for line in table.stdout.splitlines())
    return [pid for pid in pids if states.get(str(pid), "Z")[0] != "Z"]
