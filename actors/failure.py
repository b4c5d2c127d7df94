"""ActorFailure: the end of an actor, and so of its node, with a sentence for its operator."""


class ActorFailure(Exception):
    """What happened and what to do about it.

    ``error`` names the class in ``skiff.errors`` that the embedding program is to see. A
    ``lasting`` failure would happen again after a restart, so that the node gives up at once.
    """

    def __init__(self, error: str, message: str, *, lasting: bool = False) -> None:
        super().__init__(message)
        self.error = error
        self.lasting = lasting


def damaged_data(place: object, what: object) -> ActorFailure:
    """Return the failure of a node whose data is damaged, which only a new directory mends."""
    return ActorFailure(
        "StorageError",
        f"the data in {place} is damaged: {what}; it was left as it is. Start this node with a "
        "new directory and let it join the cluster again, then remove the old member.",
        lasting=True,
    )
