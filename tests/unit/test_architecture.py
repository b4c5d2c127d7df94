"""Architecture: sizes and forms of all source files; import-linter checks their imports."""

import ast
import os
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = ("skiff", "actors", "protocol", "scripts")
CACHE = "__pycache__"
DRAWERS = {"base", "common", "helpers", "manager", "utils"}
FUNCTION_LINES_MAX = 50
FILE_LINES_MAX = 400

Function = ast.FunctionDef | ast.AsyncFunctionDef


def is_python(path: Path) -> bool:
    if path.suffix:
        return path.suffix == ".py"
    # Scripts are named like commands, without a suffix.
    with path.open("rb") as file:
        first_line = file.readline(200)
    return first_line.startswith(b"#!") and b"python" in first_line


@cache
def sources() -> tuple[Path, ...]:
    found = (path for folder in FOLDERS for path in files_under(ROOT / folder))
    return tuple(sorted(path for path in found if is_python(path)))


def files_under(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        if CACHE in folders:
            folders.remove(CACHE)  # other tests write there meanwhile
        yield from (Path(parent) / name for name in names)


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def place(path: Path, line: int) -> str:
    return f"{path.relative_to(ROOT)}:{line}"


def functions(path: Path) -> Iterator[Function]:
    return (node for node in ast.walk(tree(path)) if isinstance(node, Function))


def length_without_docstring(function: Function) -> int:
    first, last = function.lineno, function.end_lineno or function.lineno
    if ast.get_docstring(function) is None:
        return last - first + 1
    docstring = function.body[0]
    return last - first - ((docstring.end_lineno or docstring.lineno) - docstring.lineno)


def expect_none(rule: str, breaches: list[str]) -> None:
    assert not breaches, "\n  ".join([f"{rule}:", *breaches])


def test_the_rules_cover_every_package() -> None:
    seen = {path.relative_to(ROOT).parts[0] for path in sources()}
    assert {"skiff", "actors", "protocol"} <= seen


def test_no_function_exceeds_the_line_limit() -> None:
    measured = (
        (path, function, length_without_docstring(function))
        for path in sources()
        for function in functions(path)
    )
    breaches = [
        f"{place(path, function.lineno)} {function.name} has {length}"
        for path, function, length in measured
        if length > FUNCTION_LINES_MAX
    ]
    expect_none(f"A function has at most {FUNCTION_LINES_MAX} lines", breaches)


def test_no_file_exceeds_the_line_limit() -> None:
    lengths = [(path, len(lines(path))) for path in sources()]
    breaches = [
        f"{place(path, length)} is the last line"
        for path, length in lengths
        if length > FILE_LINES_MAX
    ]
    expect_none(f"A file has at most {FILE_LINES_MAX} lines", breaches)


def test_every_module_has_a_docstring() -> None:
    breaches = [place(path, 1) for path in sources() if not ast.get_docstring(tree(path))]
    expect_none("A module opens with a docstring", breaches)


def test_no_module_has_a_catch_all_name() -> None:
    breaches = [place(path, 1) for path in sources() if path.stem.strip("_") in DRAWERS]
    expect_none("A module is named after what it holds", breaches)


def test_no_open_work_is_left_in_a_comment() -> None:
    reminder = re.compile(r"\b(TODO|FIXME)\b")
    breaches = [
        place(path, number)
        for path in sources()
        for number, line in enumerate(lines(path), start=1)
        if reminder.search(line)
    ]
    expect_none("Open work is done or reported, not left in a comment", breaches)
