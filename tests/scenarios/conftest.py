"""The switch that makes what comes out of scenarios the expected output."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--rewrite",
        action="store_true",
        help="write what comes out of scenarios into their files, to be read before it is kept",
    )
