"""Defects: regression tests for the known defects of skiff-rs, on real processes."""

import contextlib
import json
import os
import signal
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from protocol.messages.peer import RequestVote, RequestVoteReply
from protocol.state.commands import Inserted
from protocol.wire import PEER_FRAME_BYTES_MAX
from skiff import (
    Client,
    EventKind,
    OutcomeUnknown,
    RequestTimeout,
    RevisionMismatch,
    Role,
)
from skiff.testing import Cluster, Node, wait_until
from tests.cluster import command
from tests.cluster.raw_client import RawClient
from tests.cluster.stand_in import StandIn

pytestmark = pytest.mark.cluster

# Slow clocks: much faster events were not driven by them.
HEARTBEAT_SECONDS = 0.5
SLOW_CLOCK = (
    *("--heartbeat-ms", "500"),
    *("--election-timeout-min-ms", "1500"),
    *("--election-timeout-max-ms", "3000"),
)


@pytest.fixture
def prefix(request: pytest.FixtureRequest) -> str:
    """A prefix of the shared cluster's keys for one test alone."""
    return f"{request.node.name}/"


@pytest.fixture(scope="module")
def slow_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(3, directory=tmp_path_factory.mktemp("slow"), options=SLOW_CLOCK) as running:
        yield running


def kill_all(nodes: list[Node]) -> None:
    """Kill nodes at the same time; return when all of them are gone."""
    for node in nodes:
        node.signal(signal.SIGKILL)
    for node in nodes:
        node.kill()


def start_all(nodes: list[Node]) -> None:
    for node in nodes:
        node.launch()
    for node in nodes:
        node.wait_until_ready()


def stands(node: Node) -> tuple[int, int]:
    """Return a node's last index and commit index."""
    status = node.status()
    assert status is not None
    return status.last_index, status.commit_index


def knows_no_leader(node: Node) -> bool:
    status = node.status()
    return status is not None and status.leader is None and status.role is not Role.LEADER


# --- what is acknowledged is on disk, the leader's own part included


def test_writes_acknowledged_by_a_single_node_survive_an_immediate_crash(single: Cluster) -> None:
    node = single.nodes[0]
    for life in range(3):
        with node.client() as client:
            client.insert(f"life/{life}", life)
            node.signal(signal.SIGKILL)
        node.kill()
        node.start()
    with node.client() as client:
        assert [client.get(f"life/{life}", int) for life in range(3)] == [0, 1, 2]


def test_writes_acknowledged_by_a_cluster_survive_an_immediate_crash_of_all_nodes(
    own_cluster: Cluster,
) -> None:
    for life in range(2):
        with own_cluster.client(timeout=20) as client:
            revision = client.insert(f"life/{life}", life)
            kill_all(own_cluster.nodes)
        start_all(own_cluster.nodes)
        with own_cluster.client(timeout=20) as client:
            entry = client.get_entry(f"life/{life}", int)
            assert entry is not None
            assert (entry.value, entry.revision, entry.version) == (life, revision, 1)


def test_a_leader_counts_itself_only_for_entries_on_its_own_disk(slow_cluster: Cluster) -> None:
    leader = slow_cluster.leader()
    behind, other = slow_cluster.followers()
    slow_cluster.kill(behind)
    with leader.client(timeout=20) as client:
        revision = client.insert("counted", "by two disks")
    kill_all([leader, other])
    # The node without the value and the former leader are a majority; only the latter has it.
    start_all([leader, behind])
    with behind.client(timeout=20) as client:
        entry = client.get_entry("counted", str)
        assert entry is not None
        assert entry.revision == revision
    slow_cluster.restart(other)
    slow_cluster.wait_until_whole()


# --- votes


def test_terms_votes_and_logs_decide_elections_across_a_restart(slow_cluster: Cluster) -> None:
    voter, *dead = slow_cluster.nodes
    with voter.client() as client:
        status = client.status()
    assert status.cluster_id is not None
    cluster = status.cluster_id.bytes
    kill_all(dead)
    with StandIn(dead[0], voter, cluster) as first, StandIn(dead[1], voter, cluster) as second:
        asked = stand_for_election(first)

        def restart() -> None:
            voter.kill()
            first.forget()
            voter.start()
            first.hear(RequestVote)  # until then, a recent leader's lease promise may bind it

        # The candidate's own vote still counts after a restart.
        restart()
        with voter.client() as client:
            assert client.status().term >= asked.term, "the term was forgotten"
        assert not granted(second, asked.term, asked.last_index, asked.last_term)

        # A log of a newer last term is newer, regardless of the lengths.
        term = asked.term + 1
        assert not granted(second, term, asked.last_index + 1000, asked.last_term - 1)
        assert not granted(second, term, asked.last_index - 1, asked.last_term)
        assert granted(second, term, 1, asked.last_term + 1)

        # A vote for another node is also remembered, and may be repeated to it.
        restart()
        assert not granted(first, term, asked.last_index, asked.last_term + 1)
        assert granted(second, term, 1, asked.last_term + 1)
    voter.kill()
    voter.start()  # to forget the stand-ins' newer incarnations
    start_all(dead)
    slow_cluster.wait_until_whole()


def stand_for_election(peer: StandIn) -> RequestVote:
    """Let the other member campaign; return its vote request, sent after its own vote."""
    while True:
        asked = peer.hear(RequestVote)
        if not asked.pre:
            return asked
        peer.say(RequestVoteReply(asked.term, granted=True, pre=True))


def granted(candidate: StandIn, term: int, last_index: int, last_term: int) -> bool:
    request = RequestVote(term, last_index, last_term)
    return candidate.ask(request, RequestVoteReply).granted


# --- only committed writes are visible, and no node serves alone


@pytest.fixture
def ghost(own_cluster: Cluster) -> Node:
    """A dead former leader with an entry that no other node has."""
    leader, others = own_cluster.leader(), own_cluster.followers()
    with leader.client(timeout=1.5) as client:
        client.insert("present", 1)
        wait_until(lambda: len(set(stands(leader))) == 1, "all is committed")
        kill_all(others)
        with leader.client() as watcher, watcher.watch() as subscriber:
            with pytest.raises(OutcomeUnknown):
                client.insert("ghost", 1)
            last, committed = stands(leader)
            assert last > committed, "the leader never had it"
            with pytest.raises(RequestTimeout):
                subscriber.recv(timeout=0)
    own_cluster.kill(leader)
    start_all(others)
    return leader


def test_an_uncommitted_entry_is_applied_on_no_node(own_cluster: Cluster, ghost: Node) -> None:
    with own_cluster.client(timeout=20) as client:
        present = client.get_entry("present", int)
        assert present is not None
        assert client.insert("after", 2) == present.revision + 1, "something else was applied"
        own_cluster.restart(ghost)
        assert client.insert("last", 3) == present.revision + 2
    for node in own_cluster.nodes:
        with node.client(timeout=20) as client:
            assert client.list_keys() == ["after", "last", "present"]


def test_a_node_without_a_majority_serves_no_reads_or_writes(own_cluster: Cluster) -> None:
    leader, others = own_cluster.leader(), own_cluster.followers()
    with leader.client(timeout=0.5) as client:
        client.insert("key", "before", timeout=5)
        kill_all(others)
        reads: list[Callable[[], object]] = [
            lambda: client.get("key"),
            client.list_keys,
            client.get_prefixes,
        ]
        for leads in (True, False):
            if not leads:
                wait_until(lambda: knows_no_leader(leader), "the leader gives up")
            for read in reads:
                with pytest.raises(RequestTimeout):
                    read()
        # A candidate has not started the write, and reports that.
        with pytest.raises(RequestTimeout):
            client.insert("key", "alone")
        with pytest.raises(RequestTimeout):
            client.remove("key")
    start_all(others)
    for node in own_cluster.nodes:
        with node.client(timeout=20) as client:
            entry = client.get_entry("key", str)
            assert entry is not None
            assert (entry.value, entry.version) == ("before", 1)


# --- replication waits for no tick and for no slow follower


def test_an_insert_takes_a_fraction_of_the_heartbeat_interval(slow_cluster: Cluster) -> None:
    assert median_insert_seconds(slow_cluster) < HEARTBEAT_SECONDS / 10


def test_a_paused_follower_delays_no_insert(slow_cluster: Cluster) -> None:
    paused = slow_cluster.followers()[0]
    slow_cluster.pause(paused)
    try:
        assert median_insert_seconds(slow_cluster) < HEARTBEAT_SECONDS / 10
    finally:
        slow_cluster.resume(paused)
    slow_cluster.wait_until_whole()


def median_insert_seconds(cluster: Cluster) -> float:
    seconds: list[float] = []
    with cluster.leader().client(timeout=20) as client:
        client.insert("timed", 0)
        for number in range(50):
            began = time.monotonic()
            client.insert("timed", number)
            seconds.append(time.monotonic() - began)
    return statistics.median(seconds)


# --- keys and watchers


def test_keys_that_differ_in_a_separator_do_not_collide(client: Client, prefix: str) -> None:
    names = [f"{prefix}{name}" for name in ("a/b/k", "a_b/k", "a/b_k", "a_b_k", "a//b/k")]
    for name in names:
        client.insert(name, name)
    assert [client.get(name, str) for name in names] == names
    client.remove(names[0])
    assert [client.get(name, str) for name in names] == [None, *names[1:]]
    assert client.list_keys(f"{prefix}a/b/") == []


def test_every_node_publishes_removals(cluster: Cluster, client: Client, prefix: str) -> None:
    for node in cluster.nodes:
        with node.client() as watcher, watcher.watch(f"{prefix}{node.port}") as subscriber:
            key = f"{prefix}{node.port}"
            revision = client.insert(key, 1)
            client.remove(key)
            inserted, removed = subscriber.next_event(10), subscriber.next_event(10)
        assert (inserted.kind, removed.kind) == (EventKind.INSERT, EventKind.REMOVE)
        assert (removed.key, removed.prev_revision) == (key, revision)
        assert removed.revision == revision + 1


def test_watching_a_prefix_never_matches_similarly_named_keys(client: Client, prefix: str) -> None:
    with client.watch(prefix + "parent/") as subscriber:
        for name in ("parents/a", "parent", "parent_a", "paren/t", "parent/in"):
            client.insert(prefix + name, name)
        client.remove(prefix + "parents/a")
        client.insert(prefix + "parent/last", 1)
        assert subscriber.recv(str, timeout=10) == (prefix + "parent/in", "parent/in")
        assert subscriber.recv(int, timeout=10) == (prefix + "parent/last", 1)


def test_a_watcher_that_stops_reading_delays_no_one_and_gets_everything_later(
    single: Cluster, tmp_path: Path
) -> None:
    node = single.nodes[0]
    values = [(f"key/{number:05}", "x" * 4000) for number in range(12_000)]
    printed = tmp_path / "printed"
    with printed.open("wb") as output, watching(node, output.fileno()) as frozen:
        os.kill(frozen.pid, signal.SIGSTOP)
        with RawClient(node) as writer, node.client(timeout=20) as client:
            outcomes = writer.insert_many(values, 200)
            assert all(isinstance(outcome, Inserted) for outcome in outcomes)
            with client.watch("other/") as subscriber:
                client.insert("other/key", 1)
                assert subscriber.recv(int, timeout=15) == ("other/key", 1)
        os.kill(frozen.pid, signal.SIGCONT)
        wait_until(lambda: len(keys_in(printed)) == len(values), "the watcher has got everything")
        assert keys_in(printed) == [key for key, _ in values], "in order"


class watching:  # noqa: N801 - reads as a sentence
    """A program that watches a node's keys and prints one change on each line."""

    def __init__(self, node: Node, output: int) -> None:
        self._node = node
        self._output = output

    def __enter__(self) -> "subprocess.Popen[bytes]":
        arguments = ["watch", "key/", "--json", "--url", self._node.address]
        self._process = subprocess.Popen(
            command.command(*arguments),
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.PIPE,
            env=command.environment(),
        )
        assert self._process.stderr is not None
        assert b"watching" in self._process.stderr.readline()
        return self._process

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stderr is not None
        self._process.stderr.close()


def keys_in(printed: Path) -> list[str]:
    whole, _, _ = printed.read_bytes().rpartition(b"\n")
    return [json.loads(line)["key"] for line in whole.splitlines()]


# --- clients of a node that is gone


def test_a_client_fails_over_from_an_unresponsive_node(cluster: Cluster, prefix: str) -> None:
    followers = cluster.followers()
    addresses = [node.address for node in followers]
    with Client(addresses, timeout=15, follow_leader=False) as client:
        client.insert(prefix + "key", 1)
        (asked,) = [node for node in followers if node.id == client.status().id]
        (other,) = [node for node in followers if node is not asked]
        cluster.pause(asked)  # the connection stays up without replies
        try:
            client.insert(prefix + "key", 2)
            assert client.status().id == other.id
        finally:
            cluster.resume(asked)
        entry = client.get_entry(prefix + "key", int)
        assert entry is not None
        assert (entry.value, entry.version) == (2, 2)
    cluster.wait_until_whole()


def test_a_client_fails_over_from_a_killed_node(own_cluster: Cluster) -> None:
    with own_cluster.client(timeout=15) as client:
        client.insert("key", 1)
        own_cluster.kill(next(n for n in own_cluster.nodes if n.id == client.status().id))
        client.insert("key", 2)
        entry = client.get_entry("key", int)
        assert entry is not None
        assert (entry.value, entry.version) == (2, 2)


def test_the_outcome_is_unknown_once_the_leader_has_appended_the_write(
    cluster: Cluster, prefix: str
) -> None:
    leader, followers = cluster.leader(), cluster.followers()
    with leader.client(timeout=20) as client:
        client.insert(prefix + "before", 1)
        for follower in followers:
            cluster.pause(follower)
        try:
            with pytest.raises(OutcomeUnknown):
                client.insert(prefix + "key", "maybe", if_revision=0, timeout=1)
        finally:
            for follower in followers:
                cluster.resume(follower)
        # A conditional write settles the unknown outcome.
        expected = "maybe"
        with contextlib.suppress(RevisionMismatch):
            client.insert(prefix + "key", "now", if_revision=0)
            expected = "now"
        settled = client.get_entry(prefix + "key", str)
        assert settled is not None
        assert (settled.value, settled.version) == (expected, 1)
    cluster.wait_until_whole()


def test_a_write_that_no_leader_accepted_times_out_without_effect(
    cluster: Cluster, prefix: str
) -> None:
    asked, *others = cluster.nodes
    with asked.client(timeout=20) as client:
        client.insert(prefix + "before", 1)
        for node in others:
            cluster.pause(node)
        try:
            wait_until(lambda: knows_no_leader(asked), "no leader is known")
            with pytest.raises(RequestTimeout):
                client.insert(prefix + "key", "never", timeout=1)
        finally:
            for node in others:
                cluster.resume(node)
        client.insert(prefix + "after", 1)
        assert client.list_keys(prefix) == [prefix + "after", prefix + "before"]
    cluster.wait_until_whole()


# --- a follower far behind


@pytest.mark.timeout(120)
def test_a_follower_far_behind_catches_up_in_several_messages(own_cluster: Cluster) -> None:
    value = os.urandom(20_000)
    count = 3000
    assert count * len(value) > PEER_FRAME_BYTES_MAX, "one message could carry it all"
    behind = own_cluster.followers()[0]
    own_cluster.kill(behind)
    with RawClient(own_cluster.leader()) as writer:
        values = ((f"far/behind/{number}", value) for number in range(count))
        outcomes = writer.insert_many(values, 40)
        assert all(isinstance(outcome, Inserted) for outcome in outcomes)
    leader = own_cluster.leader()
    before = leader.status()
    own_cluster.restart(behind)
    with behind.client(timeout=40) as client:
        assert len(client.list_keys("far/behind/")) == count
        assert all(
            client.get(f"far/behind/{number}", bytes) == value for number in range(0, count, 100)
        )
    after = leader.status()
    assert before is not None
    assert after is not None
    assert after.term == before.term, "every follower received heartbeats meanwhile"
