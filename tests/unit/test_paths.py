"""Paths: those that can be none are refused before any request is sent, or anything is written."""

import asyncio
import io
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

import skiff
from skiff import AsyncClient, Client, InvalidRequest, StorageError

NOWHERE = "127.0.0.1:1"


class PathOfBytes:
    def __fspath__(self) -> bytes:
        return b"x"


def back_up(client: type[Client | AsyncClient], path: Any, progress: Any = None) -> None:
    if issubclass(client, Client):
        with client(NOWHERE) as blocking:
            blocking.backup(path, progress=progress)
        return

    async def run() -> None:
        async with AsyncClient(NOWHERE) as concurrent:
            await concurrent.backup(path, progress=progress)

    asyncio.run(run())


CLIENTS = pytest.mark.parametrize("client", [Client, AsyncClient])
NO_PATHS = pytest.mark.parametrize(
    ("given", "reason"),
    [
        (5, "must be a path"),
        (None, "must be a path"),
        (b"x", "must be a path"),
        (PathOfBytes(), "must be a path"),
        ("a\0b", "must be a path, and has a null character"),
        ("\ud800", "must be a path, and has a character that none can have"),
    ],
)


# --- backups


@CLIENTS
@NO_PATHS
def test_a_backup_goes_to_a_path_or_a_stream(
    client: type[Client | AsyncClient], given: Any, reason: str
) -> None:
    with pytest.raises(InvalidRequest, match=f"path {reason}"):
        back_up(client, given)


@CLIENTS
def test_a_backup_goes_to_no_text_stream(client: type[Client | AsyncClient]) -> None:
    with tempfile.NamedTemporaryFile("w") as named:
        for stream in (sys.stdout, io.StringIO(), named):
            with pytest.raises(InvalidRequest, match="binary stream, not the text stream"):
                back_up(client, stream)


@CLIENTS
def test_the_progress_of_a_backup_is_a_function(
    client: type[Client | AsyncClient], tmp_path: Path
) -> None:
    async def progress(rows: int, total: int) -> None:
        pass

    for given in (5, 0, progress):
        with pytest.raises(InvalidRequest, match="must be an ordinary function"):
            back_up(client, tmp_path / "backup", given)


# --- restoring


@NO_PATHS
def test_a_restore_is_from_a_path_or_a_stream_to_a_path(
    tmp_path: Path, given: Any, reason: str
) -> None:
    with pytest.raises(InvalidRequest, match=f"source {reason}"):
        skiff.restore(given, tmp_path / "node")
    with pytest.raises(InvalidRequest, match=f"directory {reason}"):
        skiff.restore(io.BytesIO(b""), given)
    assert not any(tmp_path.iterdir())


def test_a_restore_is_from_no_text_stream_and_shown_by_a_function(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="binary stream, not the text stream"):
        skiff.restore(io.StringIO("skiff backup 1\n"), tmp_path / "node")  # type: ignore[arg-type]
    with pytest.raises(InvalidRequest, match="must be an ordinary function, not 5"):
        skiff.restore(tmp_path / "backup", tmp_path / "node", 5)  # type: ignore[arg-type]


def test_a_stream_without_a_name_can_be_restored(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"^the backup <stream> is damaged: it ends too early"):
        skiff.restore(io.BytesIO(b"skiff backup 1\n"), tmp_path / "node")


# --- recovering


@NO_PATHS
def test_directories_to_recover_are_paths(tmp_path: Path, given: Any, reason: str) -> None:
    with pytest.raises(InvalidRequest, match=r"a directory must be a path|must be a collection"):
        skiff.recover(given, dry_run=True)
    with pytest.raises(InvalidRequest, match=f"a directory {reason}"):
        skiff.recover([tmp_path, given], dry_run=True)


def test_a_trial_recovery_is_asked_for_by_a_bool(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="dry_run must be True or False, not 5"):
        skiff.recover([tmp_path], dry_run=5)  # type: ignore[arg-type]
