"""Planted bugs: the simulator finds them, and they leave no trace."""

import re
from types import CodeType

import pytest

from protocol.raft import replication
from tests.simulation.bench import look_for
from tests.simulation.bug import Bug, Edit, function_at
from tests.simulation.bugs import BUGS, PLANTED

FOUND_SOON = {
    "a voter votes twice in a term": "vote",
    "a leader that meets a newer term leads on": "two leaders in term|a term that is not durable",
    "half of the disks commit": "committed before a majority's disks hold it",
    "a heartbeat commits beyond what is known to match": "two entries are committed",
    "two changes of members are under way at once": "two changes of members are under way",
    "a new leader serves reads before an entry of its term is committed": "from the past",
    "a gateway answers what was read ahead before it is confirmed": "read is answered before",
    "what was applied and how far are two writes": "two nodes differ",
    "one sender moves a term as far as it likes": "a term jumped",
    "nodes that no member knows are believed": "a stranger leads|first to commit|removed",
    "a lease is counted on for longer than its TTL": "while its holder counted on it",
}
SEEDS = range(200, 240)  # which find each of these after a few


def codes(bug: Bug) -> list[CodeType]:
    return [function_at(edit.place).__code__ for edit in bug.edits]


@pytest.mark.simulation
@pytest.mark.timeout(240)
@pytest.mark.parametrize("name", FOUND_SOON)
def test_a_planted_bug_is_found(name: str) -> None:
    finding = look_for(BUGS[name], SEEDS)
    assert finding.seeds is not None
    assert re.search(FOUND_SOON[name], finding.shows)


@pytest.mark.parametrize("name", BUGS)
def test_every_bug_can_be_planted_and_leaves_no_trace(name: str) -> None:
    bug = BUGS[name]
    before = codes(bug)
    with bug.planted():
        assert all(now is not then for now, then in zip(codes(bug), before, strict=True))
    assert all(now is then for now, then in zip(codes(bug), before, strict=True))


def test_a_bug_is_refused_if_its_words_are_not_in_the_code() -> None:
    bug = Bug("a bug of old", "", Edit(replication.append, "words of old", "others"))
    with pytest.raises(AssertionError, match="0 times, not once"), bug.planted():
        pass


def test_a_bug_is_refused_if_its_words_occur_more_than_once() -> None:
    bug = Bug("a bug somewhere", "", Edit(replication.append, "state", "others"))
    with pytest.raises(AssertionError, match="times, not once"), bug.planted():
        pass


def with_comments() -> int:
    """Return 1 + 1."""
    # Return 1 + 1: this is no code.
    return (
        1  # one
        + 1  # and one
    )


def test_comments_docstrings_and_line_breaks_do_not_affect_the_match() -> None:
    with Bug("a sum is wrong", "", Edit(with_comments, "1 + 1", "1 + 2")).planted():
        assert with_comments() == 3
    assert with_comments() == 2


def test_no_two_bugs_have_the_same_name_or_edits() -> None:
    assert len(PLANTED) == len(BUGS) == len({tuple(bug.edits) for bug in PLANTED})
