"""The ballast of a data directory, on a real file system."""

from pathlib import Path

from actors.disk_space import BALLAST, DiskSpace
from protocol.space import Shortage

RESERVE = 4 << 20


def test_the_ballast_is_released_on_a_full_disk_and_restored_with_space(tmp_path: Path) -> None:
    space, ballast = DiskSpace(str(tmp_path), RESERVE), tmp_path / BALLAST
    space.keep_ballast(Shortage.NONE)
    assert ballast.stat().st_blocks * 512 >= RESERVE // 4
    space.keep_ballast(Shortage.LOW)
    assert ballast.exists()
    space.keep_ballast(Shortage.CRITICAL)
    assert not ballast.exists()
    space.keep_ballast(Shortage.LOW)
    assert not ballast.exists()
    space.keep_ballast(Shortage.QUOTA)
    assert ballast.exists()


def test_a_ballast_of_another_size_is_recreated(tmp_path: Path) -> None:
    DiskSpace(str(tmp_path), RESERVE).keep_ballast(Shortage.NONE)
    space = DiskSpace(str(tmp_path), 4 * RESERVE)
    space.keep_ballast(Shortage.NONE)
    assert (tmp_path / BALLAST).stat().st_size == RESERVE


def test_without_a_reserve_there_is_no_ballast(tmp_path: Path) -> None:
    space = DiskSpace(str(tmp_path), 0)
    space.keep_ballast(Shortage.NONE)
    assert list(tmp_path.iterdir()) == []
    assert space.free_bytes() > 0
