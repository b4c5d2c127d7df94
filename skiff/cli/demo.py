"""Demo: the command that kills the leader of a cluster, and shows that no write is lost."""

import time

from skiff.cli import output, status
from skiff.cli.demo_writer import Writer, longest_silence
from skiff.cli.failures import CommandFailed
from skiff.cli.member_status import MEMBER_SECONDS, ask_members
from skiff.cli.options import Json
from skiff.cli.signals import end_on_signals, ignore_signals
from skiff.client import Client
from skiff.testing import Cluster, Node, wait_until

NODES = 3
WRITES = 500  # before the leader is killed, and again after that


class Story:
    """Reports the events of the demo: a sentence, or a line of JSON, for each."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._began = time.monotonic()

    def tell(self, event: str, sentence: str, **facts: object) -> None:
        """Report an event."""
        elapsed = time.monotonic() - self._began
        if self._as_json:
            output.json({"event": event, "seconds": round(elapsed, 3), **facts})
        else:
            output.line(f"{elapsed:5.1f} s  {sentence}")

    def show_members(self, client: Client) -> None:
        """Show the status of every member."""
        standings = ask_members(client.status(), _reach, MEMBER_SECONDS)
        if self._as_json:
            output.json({"event": "members", **status.report(standings)})
        else:
            output.line("")
            status.show(standings)
            output.line("")


def demo(*, as_json: Json = False) -> None:
    """Kill the leader of three nodes amid writes, and lose none.

    Starts a real cluster in a temporary directory, writes one key after another, kills the
    leader with SIGKILL, reads back every key that was acknowledged, and starts the killed node
    again. Takes about ten seconds and leaves no files behind. The exit code is 1 if a key is lost.
    """
    story = Story(as_json=as_json)
    story.tell("starting", f"Starting {NODES} nodes in a temporary directory")
    end_on_signals()
    with Cluster(nodes=NODES) as cluster:
        try:
            lost = _play(story, cluster)
        finally:
            ignore_signals()  # or the nodes started so far would be left running
    story.tell("finished", "All processes and files of the cluster are gone", lost=lost)
    if lost:
        raise CommandFailed(f"{lost} acknowledged keys were lost")


def _reach(address: str, seconds: float) -> Client:
    return Client([address], timeout=seconds, follow_leader=False, key="")


def _play(story: Story, cluster: Cluster) -> int:
    """Run the demo; return the number of acknowledged keys that were lost."""
    with cluster.client() as client:
        story.tell("started", "All nodes serve, and one of them leads:")
        story.show_members(client)
        with Writer(cluster.addresses) as writer:
            story.tell("writing", "A client writes one key after another")
            wait_until(lambda: len(writer.acknowledged) >= WRITES, "keys were written")
            killed = _kill_leader(story, cluster, writer)
            goal = len(writer.acknowledged) + WRITES
            wait_until(lambda: len(writer.acknowledged) >= goal, "writes went on")
        silence_ms = round(longest_silence(writer.acknowledged_at) * 1000)
        story.tell(
            "resumed",
            f"Writes go on after a pause of {silence_ms} ms",
            interrupted_ms=silence_ms,
        )
        lost = _check(story, client, writer.acknowledged)
        _restart(story, cluster, killed)
        story.show_members(client)
    return lost


def _kill_leader(story: Story, cluster: Cluster, writer: Writer) -> Node:
    leader = cluster.leader()
    written = len(writer.acknowledged)
    cluster.kill(leader)
    story.tell(
        "killed",
        f"{written} keys are acknowledged; the leader, {leader.address}, is killed by SIGKILL",
        id=leader.id,
        address=leader.address,
        acknowledged=written,
    )
    wait_until(lambda: cluster.leader() is not leader, "another node leads")
    successor = cluster.leader()
    story.tell(
        "elected",
        f"{successor.address} is the new leader",
        id=successor.id,
        address=successor.address,
    )
    return leader


def _check(story: Story, client: Client, acknowledged: dict[str, int]) -> int:
    """Read back every acknowledged key; return the number of those missing."""
    missing = [key for key, value in acknowledged.items() if client.get(key) != value]
    found = len(acknowledged) - len(missing)
    story.tell(
        "checked",
        f"{found} of {len(acknowledged)} acknowledged keys are read back",
        acknowledged=len(acknowledged),
        missing=missing,
    )
    return len(missing)


def _restart(story: Story, cluster: Cluster, node: Node) -> None:
    """Restart the killed node, and wait until it has applied what the leader has."""
    began = time.monotonic()
    cluster.restart(node)
    standing = cluster.leader().status()
    wanted = standing.commit_index if standing else 0
    wait_until(lambda: _applied(node) >= wanted, "the restarted node has caught up")
    took_ms = round((time.monotonic() - began) * 1000)
    story.tell(
        "caught_up",
        f"{node.address} was restarted and caught up in {took_ms} ms:",
        id=node.id,
        address=node.address,
        milliseconds=took_ms,
    )


def _applied(node: Node) -> int:
    standing = node.status()
    return standing.applied_index if standing else -1
