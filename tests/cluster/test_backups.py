"""Backups of a running cluster: restored as a new cluster, or refused without side effects."""

import json
import os
import secrets
import subprocess
import threading
from pathlib import Path

import pytest

import skiff
from protocol.messages.client import ReadSnapshot, SnapshotPart
from protocol.snapshot import SnapshotChunk, decode_rows
from skiff import Client, Skiff, StorageError, backup
from skiff.backup import Backup
from skiff.testing import Cluster, free_port
from tests.cluster import command
from tests.cluster.audited import audited
from tests.cluster.command import run
from tests.cluster.keyed import node_key
from tests.cluster.raw_client import RawClient

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(120)]

VALUE = "x" * 20_000
KEYS = 200  # enough for several chunks


@pytest.fixture(scope="module")
def source() -> object:
    with Cluster(3) as cluster:
        with cluster.client() as client:
            for number in range(KEYS):
                client.insert(f"key/{number:03}", VALUE)
        yield cluster


def test_a_restored_backup_continues_as_a_new_cluster(source: Cluster, tmp_path: Path) -> None:
    file, directory = tmp_path / "backup", tmp_path / "node"
    with source.followers()[0].client() as client:
        revision = client.insert("key/last", "before the backup")
        shown: list[tuple[int, int]] = []
        taken = client.backup(file, progress=lambda *rows: shown.append(rows))
        assert len(shown) > 1, "it took several chunks"
        assert shown[-1][0] == taken.rows > KEYS
        assert taken.level == client.status().cluster_level
    restored = skiff.restore(file, directory)
    with Skiff(directory, port=free_port(), key=node_key()) as node:
        node.wait_for_leader()
        with Client([node.address]) as client:
            assert client.list_keys("key/")[-2:] == [f"key/{KEYS - 1:03}", "key/last"]
            entry = client.get_entry("key/last", str)
            assert entry is not None
            assert (entry.value, entry.revision) == ("before the backup", revision)
            status = client.status()
            assert (status.id, status.cluster_id) == (restored.node, restored.cluster)
            assert status.cluster_id != source.leader().status().cluster_id  # type: ignore[union-attr]
            assert client.insert("key/new", 1) == revision + 1
        joined = Skiff(
            tmp_path / "other", port=free_port(), join_cluster=[node.address], key=node_key()
        )
        with joined, Client([joined.address]) as client:
            joined.wait_for_leader()
            assert client.get("key/last", str) == "before the backup"
            assert client.get("key/000", str) == VALUE


@pytest.mark.parametrize("first", ["the one that is down", "the one that is up"])
def test_a_backup_is_taken_from_a_reachable_node(
    source: Cluster, tmp_path: Path, first: str
) -> None:
    addresses = [f"127.0.0.1:{free_port()}", source.followers()[0].address]
    if first == "the one that is up":
        addresses.reverse()
    with Client(addresses, follow_leader=False) as client:
        assert client.backup(tmp_path / "backup").rows > KEYS


def test_two_concurrent_backups_are_both_complete(source: Cluster, tmp_path: Path) -> None:
    inner: list[Backup] = []
    with source.nodes[0].client() as client, source.nodes[0].client() as other:

        def begin_another(*_: int) -> None:
            """Take a whole backup after the first chunk of another."""
            if not inner:
                client.insert("between", "in the second one only")
                inner.append(other.backup(tmp_path / "inner"))

        outer = client.backup(tmp_path / "outer", progress=begin_another)
    assert backup.verify(tmp_path / "outer") == outer
    assert [backup.verify(tmp_path / "inner")] == inner
    assert "between" not in keys_in(tmp_path / "outer")
    assert "between" in keys_in(tmp_path / "inner")
    assert outer.index < inner[0].index
    assert {f"key/{number:03}" for number in range(KEYS)} <= keys_in(tmp_path / "outer")


def test_a_late_duplicate_of_the_first_request_ends_no_backup(source: Cluster) -> None:
    name, other = secrets.token_bytes(16), secrets.token_bytes(16)
    with RawClient(source.nodes[0]) as client:
        first = part_of(client, ReadSnapshot(name, None))
        second = part_of(client, ReadSnapshot(name, first.end))
        client.insert_many([("later", 1)], 1)
        begun_later = part_of(client, ReadSnapshot(other, None))
        assert part_of(client, ReadSnapshot(name, None)) == first
        assert part_of(client, ReadSnapshot(name, second.end)).start == second.end
        assert part_of(client, ReadSnapshot(other, begun_later.end)).start == begun_later.end


def part_of(client: RawClient, request: ReadSnapshot) -> SnapshotChunk:
    (part,) = client.ask(request)
    assert isinstance(part, SnapshotPart)
    assert part.chunk is not None
    return part.chunk


def keys_in(file: Path) -> set[str]:
    rows = (row for chunk in backup.read(file) for row, _ in decode_rows(chunk.rows))
    return {row[1:].decode() for row in rows if row[:1] == b"\0"}


def test_a_backup_is_consistent_while_writes_continue(source: Cluster, tmp_path: Path) -> None:
    file = tmp_path / "backup"
    done = threading.Event()

    def count() -> None:
        with source.client() as client:
            number = 0
            while not done.is_set():
                number += 1
                client.insert("count/first", number)
                client.insert("key/150/count", number)
                client.insert("\U0010ffff/count/last", number)

    writer = threading.Thread(target=count)
    writer.start()
    try:
        with source.client() as client:
            client.backup(file)
    finally:
        done.set()
        writer.join()
    skiff.restore(file, tmp_path / "node")
    with Skiff(tmp_path / "node", port=free_port(), key=node_key()) as node:
        node.wait_for_leader()
        with Client([node.address]) as client:
            names = ("count/first", "key/150/count", "\U0010ffff/count/last")
            first, middle, last = (client.get(name, int) or 0 for name in names)
            assert first >= middle >= last >= first - 1, "all three are of one moment"


def test_the_commands_report_their_outcome(source: Cluster, tmp_path: Path) -> None:
    file, directory = str(tmp_path / "backup"), str(tmp_path / "node")
    url = ("--url", source.nodes[0].address)
    made = run("backup", file, *url)
    assert (made.returncode, made.stdout) == (0, b"")
    assert b"verified" in made.stderr
    again = run("backup", file, *url)
    assert again.returncode == 1
    assert b"exists already" in again.stderr
    restored = run("restore", file, "--dir", directory, "--json")
    assert restored.returncode == 0
    told = json.loads(restored.stdout)
    assert set(told) == {"dir", "id", "cluster_id"}
    (record,) = audited(tmp_path / "node")
    assert record["user"].startswith("os:")
    cluster = told["cluster_id"].replace("-", "")
    assert (record["operation"], record["target"]) == ("Restore", f"{file} as cluster {cluster}")
    taken = run("restore", file, "--dir", directory)
    assert taken.returncode == 1
    assert b"already holds the data of a node" in taken.stderr
    assert len(audited(tmp_path / "node")) == 1


def test_a_backup_is_restored_from_standard_input_or_a_pipe(
    source: Cluster, tmp_path: Path
) -> None:
    with source.client() as client:
        client.insert("kept", "value")
        client.backup(tmp_path / "backup")
    data = (tmp_path / "backup").read_bytes()
    target = tmp_path / "place"
    target.mkdir()
    for given, name in (("-", "<stdin>"), ("/dev/stdin", "/dev/stdin")):
        for number, piped in ((0, data), (1, data[:-1]), (2, b"x" * 100)):
            made = target / f"node{number}{given.replace('/', '-')}"
            program = command.command("restore", given, "--dir", str(made))
            ended = subprocess.run(program, input=piped, capture_output=True, check=False)
            assert ended.returncode == bool(number), ended
            assert made.exists() is not bool(number)
            if number:
                assert f"{name} is" in ended.stderr.decode()
            else:
                assert audited(made)[0]["target"].startswith(f"{name} as cluster ")
    left = {each.name for each in target.iterdir()}
    assert left == {"node0-", "node0-dev-stdin"}, "no temporary file is left"


def test_all_that_a_restore_and_a_recovery_write_is_for_their_owner_alone(
    source: Cluster, tmp_path: Path
) -> None:
    with source.client() as client:
        client.backup(tmp_path / "backup")
    directory = tmp_path / "node"
    before = os.umask(0)
    try:
        skiff.restore(tmp_path / "backup", directory)
        assert set(modes_in(directory)) == {0o40700, 0o100600}
        skiff.recover([directory], dry_run=True)
        assert set(modes_in(directory)) == {0o40700, 0o100600}
    finally:
        os.umask(before)


def modes_in(directory: Path) -> list[int]:
    return [each.stat().st_mode for each in (directory, *directory.rglob("*"))]


def test_a_damaged_backup_is_refused_before_anything_is_written(
    source: Cluster, tmp_path: Path
) -> None:
    file = tmp_path / "backup"
    with source.client() as client:
        client.backup(file)
    damaged = bytearray(file.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    file.write_bytes(damaged)
    with pytest.raises(StorageError, match="damaged"):
        skiff.restore(file, tmp_path / "node")
    assert not (tmp_path / "node").exists()


def test_restoring_into_a_non_empty_directory_is_refused(source: Cluster, tmp_path: Path) -> None:
    file = tmp_path / "backup"
    with source.client() as client:
        client.backup(file)
    with pytest.raises(StorageError, match="backup"):
        skiff.restore(file, tmp_path)
    assert [each.name for each in tmp_path.iterdir()] == ["backup"], "not even a lock"
    with pytest.raises(StorageError, match="not a skiff directory"):
        skiff.restore(file, tmp_path)
