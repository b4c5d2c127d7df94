"""IpcDirectory: its ownership, and its removal."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from actors import ipc_directory as module
from actors.ipc_directory import PREFIX, IpcDirectory


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture
def names(temporary: Path) -> Iterator[IpcDirectory]:
    names = IpcDirectory()
    names.keep()
    yield names
    names.clear()


def start_another() -> None:
    """Create and remove a directory, as another node does."""
    other = IpcDirectory()
    other.keep()
    other.clear()


def test_a_directory_that_was_never_locked_is_removed_when_a_node_starts(temporary: Path) -> None:
    (temporary / f"{PREFIX}begun").mkdir()
    start_another()
    assert list(temporary.iterdir()) == []


def test_an_unlocked_directory_is_removed_when_another_node_starts(names: IpcDirectory) -> None:
    (Path(names.path) / "client").touch()
    start_another()
    assert Path(names.path, "client").exists()
    names.release()
    start_another()
    assert not Path(names.path).exists()


def test_directories_of_other_programs_are_kept(temporary: Path) -> None:
    (temporary / "skiff-cluster-1").mkdir()
    start_another()
    assert (temporary / "skiff-cluster-1").is_dir()


def test_an_existing_directory_is_kept(names: IpcDirectory) -> None:
    (Path(names.path) / "client").touch()
    path = names.path
    names.keep()
    assert names.path == path
    assert Path(path, "client").exists()


def test_a_recreated_directory_is_locked(names: IpcDirectory) -> None:
    path = names.path
    shutil.rmtree(path)
    names.keep()
    assert names.path == path
    start_another()
    assert Path(path).is_dir()
    names.release()
    start_another()
    assert not Path(path).exists()


@pytest.mark.parametrize("opened", [False, True])
def test_a_directory_removed_before_it_is_locked_is_recreated(
    temporary: Path, monkeypatch: pytest.MonkeyPatch, opened: bool
) -> None:
    genuine = module._open

    def removed_meanwhile(path: str) -> int:
        monkeypatch.setattr(module, "_open", genuine)
        lock = genuine(path) if opened else None
        shutil.rmtree(path)
        return genuine(path) if lock is None else lock

    monkeypatch.setattr(module, "_open", removed_meanwhile)
    names = IpcDirectory()
    names.keep()
    assert Path(names.path).is_dir()
    start_another()
    assert Path(names.path).is_dir(), "it is locked"
    names.clear()
