"""ActorFailure: the fatal error of an actor, with a message for the operator."""


class ActorFailure(Exception):
    """A fatal error: what happened, and what to do about it.

    ``error`` is the name of the class in ``skiff.errors`` that the embedding program receives. A
    ``lasting`` failure would recur after a restart, so that the node gives up at once.
    """

    def __init__(self, error: str, message: str, *, lasting: bool = False) -> None:
        super().__init__(message)
        self.error = error
        self.lasting = lasting


def damaged_data(place: object, what: object) -> ActorFailure:
    """Return the failure of a node with damaged data, which needs a new directory."""
    return ActorFailure(
        "StorageError",
        f"the data in {place} is damaged: {what}; it was left as it is. Start this node with a "
        "new directory and let it join the cluster again, then remove the old member.",
        lasting=True,
    )
