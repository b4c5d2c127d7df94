"""Small disks: in-memory file systems of a few MiB for nodes' directories."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

DISK_BYTES = 96 << 20
FILLER = "filler"


@contextmanager
def small_disks(parent: Path, *names: str) -> Iterator[list[Path]]:
    """Mount a small disk at each name; skip the test if that is not permitted."""
    paths = [parent / name for name in names]
    mounted: list[Path] = []
    try:
        for path in paths:
            path.mkdir()
            _mount(path)
            mounted.append(path)
        yield paths
    finally:
        for path in mounted:
            subprocess.run(["umount", "--lazy", str(path)], check=True)


def _mount(path: Path) -> None:
    if shutil.which("mount") is None or os.geteuid() != 0:
        pytest.skip("only root can mount small disks")
    options = f"size={DISK_BYTES},mode=0700"
    command = ["mount", "-t", "tmpfs", "-o", options, "skiff-test", str(path)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting is not permitted here")


def fill(disk: Path, leave: int = 0) -> None:
    """Fill a disk until ``leave`` bytes are free, by default to its last block."""
    with (disk / FILLER).open("ab", buffering=0) as file, suppress(OSError):
        while (room := shutil.disk_usage(disk).free - leave) > 0:
            file.write(bytes(min(room, 1 << 20)))


def make_room(disk: Path) -> None:
    """Free the space that ``fill`` took."""
    (disk / FILLER).unlink(missing_ok=True)
