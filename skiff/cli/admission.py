"""Admission: waits until the node of this command is a member of a cluster."""

from skiff.client import Client
from skiff.errors import SkiffError
from skiff.node import Skiff
from skiff.records import NodeStatus

ANSWER_SECONDS = 1.0  # for the node's reply to a status request
ASK_SECONDS = 0.1  # between two status requests


class Admission:
    """Polls the status of this program's node, over one client.

    A failed request is repeated: only the node itself decides to give up.
    """

    def __init__(self, skiff: Skiff) -> None:
        self._skiff = skiff
        self._client: Client | None = None

    def is_granted(self) -> bool:
        """Return whether the node is a member by its own status; waits until it replies.

        Raises:
            SkiffError: the node has given up; the class names the reason.
        """
        while (status := self._ask()) is None:
            self._skiff.wait(ASK_SECONDS)
        return not status.removed and status.id in {member.id for member in status.members}

    def wait(self) -> None:
        """Wait until the node is a member of a cluster.

        Raises:
            SkiffError: the node has given up; the class names the reason.
        """
        while not self.is_granted():
            self._skiff.wait(ASK_SECONDS)

    def close(self) -> None:
        """Close the client."""
        if self._client is not None:
            self._client.close()

    def _ask(self) -> NodeStatus | None:
        try:
            self._client = self._client or self._skiff.client(timeout=ANSWER_SECONDS)
            return self._client.status()
        except SkiffError:
            return None
