"""A failure that ends an actor, and so its node, with a sentence for whoever runs it."""


class ActorFailure(Exception):
    """What happened and what to do about it.

    ``error`` names the class in ``skiff.errors`` that the embedding program is to see. A
    ``lasting`` failure would happen again after a restart, so that the node gives up at once.
    """

    def __init__(self, error: str, message: str, *, lasting: bool = False) -> None:
        super().__init__(message)
        self.error = error
        self.lasting = lasting
