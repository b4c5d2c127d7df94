"""Admission: the command polls the node until it is a member, and no failed poll ends it."""

import uuid
from collections.abc import Callable
from typing import cast

import pytest

from skiff import errors
from skiff.cli import node as command
from skiff.cli.admission import Admission
from skiff.client import Client
from skiff.node import Skiff
from skiff.records import Member, NodeStatus, Role

NODE = uuid.UUID(int=1)
ADDRESS = "127.0.0.1:9400"
UNANSWERED = (
    errors.Overloaded("busy"),
    errors.RequestTimeout("late"),
    errors.NoNodeReached("nobody"),
    errors.ClusterInitFailed("not ready"),
    errors.RPCCallFailed("nonsense"),
)


def standing(*, member: bool, removed: bool = False) -> NodeStatus:
    return NodeStatus(
        id=NODE,
        cluster_id=None,
        address=ADDRESS,
        role=Role.FOLLOWER,
        term=0,
        leader=None,
        revision=0,
        last_index=0,
        commit_index=0,
        applied_index=0,
        removed=removed,
        members=(Member(NODE, ADDRESS, voter=False),) if member else (),
    )


WAITS, BELONGS = standing(member=False), standing(member=True)


class Node:
    """A node that replies to status requests with given results, one by one."""

    def __init__(self, *answers: NodeStatus | Exception, failure: Exception | None = None) -> None:
        self.id, self.address = NODE, ADDRESS
        self.answers = list(answers)
        self.clients = 0
        self._failure = failure

    def client(self, *, timeout: float) -> "Node":
        assert timeout > 0
        self.clients += 1
        return self

    def status(self) -> NodeStatus:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def wait(self, timeout: float) -> bool:
        assert timeout > 0
        if self._failure is not None:
            raise self._failure
        return False

    def close(self) -> None:
        pass

    @property
    def skiff(self) -> Skiff:
        return cast(Skiff, self)


@pytest.mark.parametrize("failure", UNANSWERED)
@pytest.mark.parametrize(
    ("answer", "granted"),
    [(WAITS, False), (BELONGS, True), (standing(member=True, removed=True), False)],
)
def test_a_failed_poll_is_retried(failure: Exception, answer: NodeStatus, granted: bool) -> None:
    assert Admission(Node(failure, failure, answer).skiff).is_granted() is granted


def test_all_polls_use_one_client() -> None:
    node = Node(WAITS, *UNANSWERED, WAITS, WAITS, BELONGS)
    Admission(node.skiff).wait()
    assert node.clients == 1
    assert node.answers == []


@pytest.mark.parametrize("answers", [(UNANSWERED[0],), (WAITS,)])
def test_the_failure_of_a_node_ends_the_polling(answers: tuple[NodeStatus | Exception]) -> None:
    gone = errors.StorageError("no space left")
    with pytest.raises(errors.StorageError) as failure:
        Admission(Node(*answers, failure=gone).skiff).wait()
    assert failure.value is gone


def test_a_node_that_is_not_ready_is_polled_later() -> None:
    node, clients = Node(BELONGS), [errors.ClusterInitFailed("not ready")]

    def client(*, timeout: float) -> Client:
        if clients:
            raise clients.pop()
        return cast(Client, node)

    node.client = cast(Callable[..., Node], client)  # type: ignore[method-assign]
    assert Admission(node.skiff).is_granted()


@pytest.mark.parametrize(("answer", "said"), [(WAITS, True), (BELONGS, False)])
def test_the_wait_to_join_is_announced_only_once_a_reply_confirms_it(
    capfd: pytest.CaptureFixture[str], answer: NodeStatus, said: bool
) -> None:
    node = Node(*UNANSWERED, answer, BELONGS)
    announcement = command.Announcement("host:9400", expects=False, stands_by=False, as_json=False)
    command._wait_to_be_let_in(node.skiff, announcement, Admission(node.skiff))
    assert ("asks host:9400 to join" in capfd.readouterr().err) is said


@pytest.mark.parametrize(("answer", "verb"), [(WAITS, "stands by"), (BELONGS, "serves")])
def test_a_standby_node_is_announced_by_its_reported_membership(
    capfd: pytest.CaptureFixture[str], answer: NodeStatus, verb: str
) -> None:
    node = Node(*UNANSWERED, answer)
    announcement = command.Announcement("", expects=False, stands_by=True, as_json=False)
    command._announce(node.skiff, announcement, Admission(node.skiff))
    assert f"node {NODE} {verb} at {ADDRESS}, " in capfd.readouterr().out
