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


def test_what_was_never_locked_goes_when_a_node_starts(temporary: Path) -> None:
    (temporary / f"{PREFIX}begun").mkdir()
    start_another()
    assert list(temporary.iterdir()) == []


def test_what_is_locked_no_more_goes_when_another_node_starts(names: IpcDirectory) -> None:
    (Path(names.path) / "client").touch()
    start_another()
    assert Path(names.path, "client").exists()
    names.release()
    start_another()
    assert not Path(names.path).exists()


def test_directories_of_other_programs_stay(temporary: Path) -> None:
    (temporary / "skiff-cluster-1").mkdir()
    start_another()
    assert (temporary / "skiff-cluster-1").is_dir()


def test_a_directory_that_is_there_still_is_kept(names: IpcDirectory) -> None:
    (Path(names.path) / "client").touch()
    path = names.path
    names.keep()
    assert names.path == path
    assert Path(path, "client").exists()


def test_a_directory_that_was_made_anew_is_locked_like_the_first(names: IpcDirectory) -> None:
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
def test_a_directory_that_another_node_removes_before_it_is_locked_is_made_again(
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
