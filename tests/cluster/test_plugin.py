"""The pytest plugin in a stranger's project: its fixtures, their scope, and what is left behind."""

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from skiff.testing import Cluster, guard, wait_until
from tests.cluster.project import ROOT, Project
from tests.cluster.test_testing_kit import is_alive

pytestmark = pytest.mark.cluster


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


SHARED = """
import pytest

seen = []

@pytest.mark.parametrize("turn", range(3))
def test_a_turn(skiff_cluster, skiff_client, turn):
    seen.append(skiff_cluster.addresses)
    assert skiff_client.list_keys() == []
    skiff_client.insert("key", turn)
    for page in range(12 * (turn == 0)):
        skiff_client.insert_many({f"many/{page}/{number}": number for number in range(1000)})
    assert all(each == seen[0] for each in seen), seen
    assert len(skiff_cluster.nodes) == 1
"""


def test_tests_share_a_cluster_and_each_finds_it_empty(project: Project) -> None:
    project.write(SHARED)
    assert "3 passed" in project.run()
    assert project.leftovers() == []


IMPORTED = """
import sys

def pytest_unconfigure():
    heavy = {"zmq", "rocksdict", "msgspec", "asyncio", "skiff.client"}
    print("imported:", heavy & set(sys.modules))
"""


def test_nothing_is_imported_before_a_fixture_is_used(project: Project) -> None:
    project.write(SHARED)
    project.write(IMPORTED, "conftest.py")
    printed = project.run("--collect-only", "-p", "no:xdist", "-p", "no:hypothesispytest")
    assert "3 tests collected" in printed
    assert "imported: set()" in printed
    assert "skiff_async_client" in project.run("--fixtures")


SCOPES = """
import pytest

places = []

def test_first(skiff_cluster):
    places.append(skiff_cluster.addresses)
    assert len(skiff_cluster.nodes) == {nodes}

def test_second(skiff_cluster):
    assert (skiff_cluster.addresses == places[0]) == {same}

@pytest.mark.skiff(nodes=2, partitions=True)
def test_own(skiff_cluster, skiff_client):
    assert len(skiff_cluster.nodes) == 2
    assert skiff_cluster.addresses != places[0]
    skiff_cluster.partition([skiff_cluster.nodes[0]])
    skiff_cluster.heal()
    skiff_client.insert("key", 1)
"""


def test_options_and_markers_say_how_large_a_cluster_is_and_who_shares_it(
    project: Project,
) -> None:
    project.write(SCOPES.format(nodes=2, same=False))
    assert "3 passed" in project.run("--skiff-nodes", "2", "--skiff-scope", "function")
    project.configure("skiff_nodes = 2\nskiff_scope = module\n")
    project.write(SCOPES.format(nodes=2, same=True))
    assert "3 passed" in project.run("--strict-markers")


@pytest.mark.parametrize("wrong", ["skiff_nodes = 0", "skiff_nodes = many", "skiff_scope = week"])
def test_a_wrong_configuration_is_a_usage_error(project: Project, wrong: str) -> None:
    project.configure(f"{wrong}\n")
    project.write("def test_it(skiff_client): pass")
    printed = project.run()
    assert re.search(r"^ERROR: skiff_\w+ must be ", printed, re.MULTILINE), printed


def test_a_marker_without_names_is_a_usage_error(project: Project) -> None:
    project.write("import pytest\n@pytest.mark.skiff(3)\ndef test_it(skiff_cluster): pass")
    assert "the marker names its arguments" in project.run()


BREAKING = """
def test_kill(skiff_cluster):
    skiff_cluster.kill(skiff_cluster.leader())

def test_pause(skiff_cluster, skiff_client):
    skiff_client.insert("key", 1)
    skiff_cluster.pause(skiff_cluster.nodes[0])

def test_add(skiff_cluster, skiff_client):
    assert skiff_client.get("key") is None
    skiff_cluster.add_node()

def test_after_all(skiff_cluster, skiff_client):
    assert len(skiff_cluster.nodes) == 1
    skiff_client.insert("key", 1)
"""


def test_a_cluster_that_a_test_has_broken_is_replaced(project: Project) -> None:
    project.write(BREAKING)
    assert "4 passed" in project.run()
    assert project.leftovers() == []


ASYNCIO = """
import asyncio

def test_it(skiff_async_client):
    async def main():
        async with skiff_async_client as client:
            await client.insert("key", 1)
            assert await client.get("key", int) == 1
    asyncio.run(main())

def test_unused(skiff_async_client):
    pass
"""


def test_the_asyncio_client_runs_in_the_loop_of_the_test(project: Project) -> None:
    project.write(ASYNCIO)
    assert "2 passed" in project.run()


def test_each_worker_of_xdist_has_a_cluster_of_its_own(project: Project) -> None:
    source = """
import os, pathlib, pytest

@pytest.mark.parametrize("number", range(4))
def test_it(skiff_cluster, skiff_client, number):
    assert skiff_client.list_keys() == []
    skiff_client.insert("key", number)
    with pathlib.Path("places").open("a") as file:
        print(os.environ["PYTEST_XDIST_WORKER"], *skiff_cluster.addresses, file=file)
"""
    project.write(source)
    assert "4 passed" in project.run("-n", "2")
    places = {tuple(line.split()) for line in (project.place / "places").read_text().splitlines()}
    assert len({worker for worker, _ in places}) == len({place for _, place in places}) == 2
    assert project.leftovers() == []


# --- what is left behind

SLEEPING = """
import time

def test_it(skiff_cluster):
    node = skiff_cluster.nodes[0]
    print(node.pid, *node.actor_pids.values(), skiff_cluster._guard._process.pid, flush=True)
    skiff_cluster.pause(node)
    time.sleep(600)
"""


def start_sleeping(project: Project, *options: str) -> tuple["subprocess.Popen[str]", list[bytes]]:
    """Start a test that has stopped its node; return it, and the ids of its processes."""
    project.write(SLEEPING)
    running = project.start("-s", *options)
    assert running.stdout is not None
    pids: list[bytes] = []
    while len(pids) != 6:
        line = running.stdout.readline()
        assert line, "it prints the ids"
        pids = line.encode().split()
    return running, pids


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_nothing_is_left_when_the_run_is_killed(project: Project, number: signal.Signals) -> None:
    running, pids = start_sleeping(project)
    with running:
        running.send_signal(number)
    wait_until(lambda: not any(map(is_alive, pids)), "all processes are gone")
    wait_until(lambda: not project.leftovers(), "the directory is gone")


def test_the_next_run_removes_what_is_left_when_the_guard_was_killed_too(
    project: Project,
) -> None:
    running, pids = start_sleeping(project)
    with running:
        subprocess.run(["kill", "-KILL", pids[-1].decode()], check=True)
        running.kill()
    assert len(project.leftovers()) == 1
    assert is_alive(pids[0])
    project.write("def test_it(skiff_client): skiff_client.insert('key', 1)")
    assert "1 passed" in project.run()
    assert not any(map(is_alive, pids))
    assert project.leftovers() == []


@pytest.mark.skipif(shutil.which("lsof") is None, reason="lsof is not installed")
def test_the_nodes_of_a_directory_are_found_without_proc(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "PROC", tmp_path / "proc")
    with Cluster(1, directory=tmp_path) as cluster:
        node = cluster.nodes[0]
        pids = [node.pid, *node.actor_pids.values()]
        os.kill(node.pid, signal.SIGSTOP)
        guard.end_cluster(cluster.directory)
        assert len(pids) == 5
        assert not any(is_alive(b"%d" % pid) for pid in pids)


def test_a_running_cluster_is_no_leftover(project: Project) -> None:
    running, pids = start_sleeping(project)
    with running:
        other = "from skiff.testing.guard import remove_leftovers; remove_leftovers()"
        subprocess.run(
            [sys.executable, "-P", "-c", other],
            env={"TMPDIR": str(project.temporary), "PYTHONPATH": str(ROOT)},
            check=True,
        )
        assert all(map(is_alive, pids))
        running.kill()
    wait_until(lambda: not any(map(is_alive, pids)), "all processes are gone")
