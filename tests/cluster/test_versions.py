"""Versions: real nodes beside members of an older or a newer version.

The members of another version exist only in the log of a directory, which a test has written to.
"""

import uuid
from contextlib import closing

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
from tests.cluster.command import run

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
