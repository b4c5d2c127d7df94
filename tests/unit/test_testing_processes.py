"""Processes of the testing kit: their names, and both ways of listing them."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from actors import fork_server
from skiff.testing import node
from skiff.testing.processes import Process, _from_proc, _from_ps
from skiff.testing.waiting import wait_until


def test_the_kit_knows_the_actors_in_the_order_in_which_they_are_forked() -> None:
    assert node.ACTORS == fork_server.ACTORS


@pytest.mark.skipif(sys.platform != "linux", reason="there is no /proc")
def test_both_lists_describe_this_process_alike() -> None:
    def here(listed: list[Process]) -> list[tuple[int, int, int, bool, bool]]:
        return [each[:5] for each in listed if each.pid == os.getpid()]

    expected = [(os.getpid(), os.getppid(), os.getpgrp(), False, False)]
    assert here(list(_from_proc())) == here(list(_from_ps())) == expected


@pytest.mark.parametrize("listed", [_from_proc, _from_ps])
def test_a_process_stopped_by_a_signal_is_told_apart(
    listed: Callable[[], Iterator[Process]],
) -> None:
    if listed is _from_proc and sys.platform != "linux":
        pytest.skip("there is no /proc")

    def is_stopped(pid: int) -> bool:
        return next(each.is_stopped for each in listed() if each.pid == pid)

    with subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE
    ) as child:
        assert not is_stopped(child.pid)
        child.send_signal(signal.SIGSTOP)
        wait_until(lambda: is_stopped(child.pid), "it stops")
        child.send_signal(signal.SIGCONT)
        wait_until(lambda: not is_stopped(child.pid), "it goes on")
