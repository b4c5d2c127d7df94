"""Processes of the testing kit: their names, and both ways of listing them."""

import os
import sys

import pytest

from actors import fork_server
from skiff.testing import node
from skiff.testing.processes import Process, _from_proc, _from_ps


def test_the_kit_knows_the_actors_in_the_order_in_which_they_are_forked() -> None:
    assert node.ACTORS == fork_server.ACTORS


@pytest.mark.skipif(sys.platform != "linux", reason="there is no /proc")
def test_both_lists_describe_this_process_alike() -> None:
    def here(listed: list[Process]) -> list[tuple[int, int, int, bool]]:
        return [each[:4] for each in listed if each.pid == os.getpid()]

    expected = [(os.getpid(), os.getppid(), os.getpgrp(), False)]
    assert here(list(_from_proc())) == here(list(_from_ps())) == expected
