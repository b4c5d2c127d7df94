"""The distribution: its version, and the files of its source archive."""

import ast
import shutil
import subprocess
import sys
import tarfile
from importlib import metadata
from pathlib import Path

import pytest

import skiff
import skiff.testing

ROOT = Path(__file__).parents[2]
JUNK = (
    "notes.txt",
    "data/1/CURRENT",
    "skiff/notes.txt",
    "tests/out.log",
    "scripts/old/run",
    "x.py",
)


def tracked() -> list[str]:
    """Return the files that git tracks, except those that are deleted here."""
    if not (ROOT / ".git").exists():
        pytest.skip("this copy is no clone")
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return [name for name in listed.stdout.splitlines() if (ROOT / name).exists()]


def test_the_package_version_matches_the_distribution() -> None:
    assert skiff.__version__ == metadata.version("skiff-kv")


def test_the_source_distribution_contains_the_tracked_files(tmp_path: Path) -> None:
    names = tracked()
    copy = tmp_path / "copy"
    for name in names:
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, copy / name)
    for name in JUNK:
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).touch()
    build = [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", str(tmp_path)]
    subprocess.run(build, cwd=copy, check=True, capture_output=True)
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as held:
        found = {name.partition("/")[2] for name in held.getnames()}
    assert found - {"PKG-INFO"} == set(names)


def test_every_public_name_is_imported_on_first_use() -> None:
    for package in (skiff, skiff.testing):
        assert set(package.__all__) - {"__version__"} == set(package._ON_FIRST_USE)
        assert set(package.__all__) <= set(dir(package))
        for name in package.__all__:
            assert getattr(package, name) is not None
        with pytest.raises(AttributeError):
            _ = package.Missing


def test_type_checkers_see_an_import_of_every_public_name() -> None:
    for package in (skiff, skiff.testing):
        (guarded,) = [
            statement
            for statement in ast.parse(Path(str(package.__file__)).read_text()).body
            if isinstance(statement, ast.If) and ast.unparse(statement.test) == "TYPE_CHECKING"
        ]
        imported = {
            alias.name: statement.module
            for statement in guarded.body
            if isinstance(statement, ast.ImportFrom)
            for alias in statement.names
        }
        assert imported == package._ON_FIRST_USE
