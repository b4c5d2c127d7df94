"""Versions: real nodes beside members of an older or a newer version.

Those are a copy of the packages that lacks the newest commands or, where one node is enough, exist
only in the log of its directory, which the test has written to.
"""

import uuid
from contextlib import closing
from pathlib import Path

import pytest

from actors.data_directory import DataDirectory
from actors.database import RocksDatabase
from protocol.config import NodeConfig
from protocol.entry import EntryKind, LogEntry, MembershipChange
from protocol.membership import Member, Membership, MembershipAt
from protocol.messages.storage import Append
from protocol.state.levels import STATE_LEVEL
from protocol.storage.log_store import LogStore
from protocol.wire import encode
from skiff import Remove, Unsupported
from skiff.testing import Cluster, Node
from skiff.testing.waiting import wait_until
from tests.cluster.command import run
from tests.cluster.older_build import OlderCluster, copy_older_build

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(120)]

ABSENT = b"absent".ljust(16, b"\0")


def change_members(node: Node, level: int, *others: Member) -> None:
    """Append a membership to the log of a node that is down."""
    directory = DataDirectory(str(node.directory))
    with closing(directory), closing(RocksDatabase(directory.database, create=False)) as database:
        store = LogStore(database, NodeConfig().log_limits)
        members = (Member(node.id.bytes, node.address, True, level), *others)
        membership = Membership(tuple(sorted(members, key=lambda each: each.id)))
        index = store.last_index + 1
        payload = encode(MembershipChange(membership))
        entry = LogEntry(index, store.last_term, EntryKind.MEMBERSHIP, payload)
        memberships = (*store.memberships, MembershipAt(index, membership))
        store.append(Append(0, None, (entry,), memberships))
        database.write(sync=True)


def test_newer_commands_wait_for_the_last_older_member(single: Cluster) -> None:
    node = single.nodes[0]
    node.terminate()
    change_members(node, STATE_LEVEL, Member(ABSENT, "127.0.0.1:9", False))
    node.start()
    with node.client(timeout=20) as client:
        client.insert("a", 1)
        with pytest.raises(Unsupported, match=r"127\.0\.0\.1:9 runs an older version"):
            client.increment("n")
        with pytest.raises(Unsupported, match="nothing was written"):
            client.transact([], [Remove("a")])
        assert client.get("a", int) == 1
        refused = run("remove", "--prefix", "--yes", "a", "--url", node.address)
        assert b"older version" in refused.stderr, refused
        client.remove_node(uuid.UUID(bytes=ABSENT))
        assert client.increment("n") == 1


def test_a_directory_of_a_newer_cluster_is_left_alone(single: Cluster) -> None:
    node = single.nodes[0]
    node.terminate()
    change_members(node, STATE_LEVEL + 1)
    node.launch()
    assert node.wait() != 0
    assert "upgraded to a newer version of skiff" in node.log()
    recovered = run("recover", "--dir", str(node.directory))
    assert b"use that version" in recovered.stderr


def test_a_rolling_upgrade_serves_throughout_and_ends_with_newer_commands(tmp_path: Path) -> None:
    copy_older_build(tmp_path / "build")
    with OlderCluster(tmp_path / "build", tmp_path) as cluster, cluster.client(20) as client:
        for count, node in enumerate([*cluster.followers(), cluster.leader()]):
            assert client.status().cluster_level == 1
            with pytest.raises(Unsupported, match="upgrade it, or remove it"):
                client.increment("n")
            assert client.insert("k", count)
            cluster.upgrade(node)
            assert client.get("k", int) == count
        wait_until(lambda: client.status().cluster_level == STATE_LEVEL, "the level rises")
        assert client.increment("n") == 1
        late = cluster.followers()[0]
        cluster.downgrade(late)
        assert late.wait() != 0
        assert "upgraded to a newer version of skiff" in late.log()
        assert client.increment("n") == 2


@pytest.mark.plain
def test_a_watch_of_older_nodes_says_that_they_cannot_return_what_it_missed(
    tmp_path: Path,
) -> None:
    copy_older_build(tmp_path / "build")
    with OlderCluster(tmp_path / "build", tmp_path) as cluster, cluster.client(20) as client:
        with client.watch("k/") as changes:
            client.insert("k/1", 1)
            assert changes.next_event(timeout=20).value == 1
        with pytest.raises(Unsupported, match="the nodes run older versions"):
            client.watch("k/", since=0)
        cluster.upgrade(cluster.followers()[0])
        with client.watch("k/", since=client.status().revision, timeout=20) as changes:
            client.insert("k/2", 2)
            assert changes.next_event(timeout=20).value == 2
