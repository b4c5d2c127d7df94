"""Scenarios: each file's commands give its expected output."""

from pathlib import Path

import pytest

from tests.scenarios.script import Script

FILES = sorted(Path(__file__).parent.glob("*.txt"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_scenario(path: Path, pytestconfig: pytest.Config) -> None:
    script = Script(path)
    if pytestconfig.getoption("--rewrite"):
        script.rewrite()
    differences = script.differences()
    if differences:
        pytest.fail(differences, pytrace=False)
