"""Pipelines: whether the operations of one took effect in the order in which they were given."""

from collections.abc import Iterable

from protocol.client.calls import Ending
from protocol.commands import Inserted, Removed
from protocol.messages.client import Found, Missing
from tests.simulation.breach import expect


def judge_order(endings: Iterable[Ending]) -> None:
    """Check the revisions of a pipeline's results, in the order of its operations."""
    written = 0
    for ending in endings:
        match ending.outcome:
            case Inserted(revision=revision) | Removed(existed=True, revision=revision):
                expect(revision > written, "the writes of a pipeline took effect in another order")
                written = revision
            case Found(revision=revision) | Missing(revision=revision):
                expect(revision >= written, "a read missed an earlier write of its pipeline")
