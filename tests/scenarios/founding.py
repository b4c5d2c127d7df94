"""Founding: the initial members, logs, terms and votes of a scenario's cluster."""

from collections.abc import Sequence

import msgspec

from protocol.hard_state import HardState
from protocol.membership import Member, Membership, NodeId
from protocol.state.levels import STATE_LEVEL
from tests.harness.raft_cluster import ELECTION_TIMEOUT_MIN_US, address_of
from tests.scenarios.notation import Mistake, made_up_entry, node_id, read_log, read_number
from tests.scenarios.stage import Stage
from tests.scenarios.trace import Trace

PARTS = ("voters", "learners", "spare", "term", "window")


class Founder(msgspec.Struct, frozen=True):
    """An initial member, written ``A=1,1,2@4/B``: name, log, term and vote."""

    id: NodeId
    voter: bool
    log: list[int]
    term: int | None
    voted_for: NodeId


def found(trace: Trace, words: Sequence[str]) -> Stage:
    """Return a running cluster as in ``A=1,1,2 B=1@4/A C learners D spare E term 4 window 0``.

    A node without a term of its own is in the cluster's term, or else in the highest term of any
    log.
    """
    parts = _split(words)
    founders = [_read_founder(word, voter=True) for word in parts["voters"]]
    founders += [_read_founder(word, voter=False) for word in parts["learners"]]
    stage = Stage(trace, *(each.id for each in founders), spare=tuple(map(node_id, parts["spare"])))
    newest = max(term for each in founders for term in (0, each.term or 0, *each.log))
    _write_disks(stage, founders, _number(parts["term"]) or newest)
    stage.start(window_entries=_number(parts["window"]))
    return stage


def _split(words: Sequence[str]) -> dict[str, list[str]]:
    parts: dict[str, list[str]] = {part: [] for part in PARTS}
    part = "voters"
    for word in words:
        if word in PARTS:
            part = word
        else:
            parts[part].append(word)
    if not parts["voters"]:
        raise Mistake("a cluster needs a voter")
    return parts


def _number(words: Sequence[str]) -> int | None:
    return read_number(words[0]) if words else None


def _read_founder(word: str, *, voter: bool) -> Founder:
    name, _, rest = word.partition("=")
    log, _, hard_state = rest.partition("@")
    term, _, vote = hard_state.partition("/")
    return Founder(
        node_id(name),
        voter,
        read_log(log or "-"),
        read_number(term) if term else None,
        node_id(vote or "-"),
    )


def _write_disks(stage: Stage, founders: Sequence[Founder], term: int) -> None:
    members = [Member(each.id, address_of(each.id), each.voter, STATE_LEVEL) for each in founders]
    membership = Membership(tuple(sorted(members, key=lambda each: each.id)))
    for each in founders:
        hard_state = HardState(
            term if each.term is None else each.term, each.voted_for, ELECTION_TIMEOUT_MIN_US
        )
        entries = tuple(made_up_entry(*place) for place in enumerate(each.log, start=1))
        stage.disk(each.id).begin_with(hard_state, entries, membership)
