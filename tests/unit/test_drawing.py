"""Drawing: actors/README.md shows every message between the actors of a node."""

import re
from pathlib import Path
from typing import Any, get_args

import pytest

from protocol.messages import gateway, replicator, storage, timer

README = (Path(__file__).parents[2] / "actors" / "README.md").read_text(encoding="utf-8")
ARROWS = {
    number: set(re.findall(r"`(\w+)`", cell))
    for number, cell in re.findall(r"^\| (\d) \| (.*) \|$", README, re.MULTILINE)
}
OF_ITS_OWN = {"CommitNoticeDue", "StepAside"}  # within the log replicator


@pytest.mark.parametrize(
    ("heard", "arrows", "besides"),
    [
        (storage.StorageMessage, "35", set()),
        (replicator.ReplicatorMessage, "168", OF_ITS_OWN),
        (gateway.GatewayMessage, "24", set()),
        (timer.TimerMessage, "7", set()),
    ],
)
def test_each_inbox_receives_the_messages_of_its_arrows(
    heard: Any, arrows: str, besides: set[str]
) -> None:
    names = {kind.__name__ for kind in get_args(heard) or (heard,)}
    assert names - besides == set().union(*(ARROWS[arrow] for arrow in arrows))
