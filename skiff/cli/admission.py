"""Admission of the node that this command runs: whether it is a member yet."""

from skiff.client import Client
from skiff.errors import SkiffError
from skiff.node import Skiff
from skiff.records import NodeStatus

ANSWER_SECONDS = 1.0  # for the node to say how it stands
ASK_SECONDS = 0.1  # between two questions


class Admission:
    """Asks the node that this program runs, over one client, until it says how it stands.

    A question that fails, in whatever way, tells nothing: only the node itself may give up.
    """

    def __init__(self, skiff: Skiff) -> None:
        self._skiff = skiff
        self._client: Client | None = None

    def is_granted(self) -> bool:
        """Whether the node belongs to a cluster, as far as it knows; waits until it answers.

        Raises:
            SkiffError: why the node has given up.
        """
        while (status := self._ask()) is None:
            self._skiff.wait(ASK_SECONDS)
        return not status.removed and status.id in {member.id for member in status.members}

    def wait(self) -> None:
        """Wait until the node belongs to a cluster.

        Raises:
            SkiffError: why the node has given up.
        """
        while not self.is_granted():
            self._skiff.wait(ASK_SECONDS)

    def close(self) -> None:
        """Ask no more."""
        if self._client is not None:
            self._client.close()

    def _ask(self) -> NodeStatus | None:
        try:
            self._client = self._client or self._skiff.client(timeout=ANSWER_SECONDS)
            return self._client.status()
        except SkiffError:
            return None
