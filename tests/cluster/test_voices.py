"""Voices: a node's process titles and logs identify it and report a lost majority."""

import subprocess
import time
from collections.abc import Iterable
from pathlib import Path

import msgspec
import pytest

from protocol.silence import QUIET_SECONDS
from skiff import Skiff
from skiff.testing import Cluster, free_port
from skiff.testing.waiting import wait_until
from tests.cluster.keyed import keyed_or_insecure, node_key

pytestmark = pytest.mark.cluster


def shown_by_ps(pids: Iterable[int]) -> list[str]:
    listed = ",".join(map(str, pids))
    command = ["ps", "-ww", "-o", "args=", "-p", listed]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


def test_ps_identifies_the_node_of_each_process_of_a_program(tmp_path: Path) -> None:
    with Skiff(tmp_path / "node", port=free_port(), key=node_key()) as node:
        node.wait_until_serving()
        shown = shown_by_ps(node.pids.values())
    assert len(shown) == 4
    assert all(f"--node {node.address} --dir {tmp_path / 'node'}" in each for each in shown)


def test_every_log_line_is_a_json_object(tmp_path: Path) -> None:
    options = (
        "--log-format",
        "json",
        "--bind",
        "0.0.0.0",
        "--advertise",
        "127.0.0.1",
        *keyed_or_insecure(),
    )
    with Cluster(1, directory=tmp_path, log_level="info", options=options) as cluster:
        (node,) = cluster.nodes
        with cluster.client() as client:
            client.insert("key", "value")
        lines = [msgspec.json.decode(line) for line in node.log().splitlines()]
    assert {"log_replicator", "storage_writer"} <= {line["actor"] for line in lines}
    assert all(line["term"] != 0 for line in lines)
    warned = [each for each in lines if "nothing is authenticated" in each["message"]]
    assert {each["actor"] for each in warned} == ({"supervisor"} if keyed_or_insecure() else set())


def test_a_lost_majority_is_logged_once_until_it_returns(tmp_path: Path) -> None:
    with Cluster(2, directory=tmp_path) as cluster:
        cluster.leader()
        here, other = cluster.nodes
        told_before = len(here.log())  # the first election may have been slow
        cluster.kill(other)
        wait_until(lambda: "no leader: " in here.log()[told_before:], "the loss is told")
        time.sleep(QUIET_SECONDS)  # a repetition would be logged by then
        other.start()
        wait_until(lambda: "s without a leader" in here.log()[told_before:], "its end is told")
        told = here.log()[told_before:].splitlines()
    silence = [line for line in told if "no leader" in line or "without a leader" in line]
    ends = [number for number, line in enumerate(silence) if "s without a leader" in line]
    assert ends[0] == 1, "the loss is told once, before its end"
    assert all("WARNING" in line and "actor=log_replicator" in line for line in silence)
