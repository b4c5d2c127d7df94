"""Portrait: one line about a node of a scenario, with its state and its disk's."""

from protocol.raft.roles import Candidate, Follower, Leader
from tests.harness.raft_cluster import Machine
from tests.scenarios.notation import node_name, write_log, write_members


def write_role(machine: Machine) -> str:
    """Write role, term and vote of the core."""
    state = machine.core._state
    vote = f"term={state.term} vote={node_name(state.voted_for)}"
    removed = " removed" if state.removed else ""
    match state.role:
        case Leader(transfer_to=None):
            return f"leader {vote}{removed}"
        case Leader(transfer_to=successor):
            return f"leader, handing over to {node_name(successor)}, {vote}{removed}"
        case Candidate(pre=pre):
            return f"{'pre-candidate' if pre else 'candidate'} {vote}{removed}"
        case Follower(leader=None):
            return f"follower {vote}{removed}"
        case Follower(leader=leader):
            return f"follower of {node_name(leader)} {vote}{removed}"


def write_membership(machine: Machine) -> str:
    """Write the members in force, and those that a truncation would restore."""
    memberships = machine.core._state.memberships
    latest = write_members(memberships.latest.membership)
    if not memberships.pending:
        return latest
    return f"{latest} since {memberships.latest.index}, not committed"


def write_machine(machine: Machine) -> str:
    """Write the state of a node, in the terms of Raft's figure 2."""
    name, disk = node_name(machine.id), machine.disk
    if machine.running is None:
        return f"{name}: down{_write_disk(machine)}"
    state = machine.core._state
    begin = f"{state.log.prev_index}:" if state.log.prev_index else ""
    log = f"log={begin}{write_log(machine.log_terms)}"
    indexes = f"commit={state.commit_index} applied={disk.applied_index}"
    members = f"members={write_membership(machine)}"
    return f"{name}: {write_role(machine)} {log} {indexes} {members}{_write_difference(machine)}"


def _write_difference(machine: Machine) -> str:
    """Write the disk's state if it differs from the core's."""
    state, disk = machine.core._state, machine.disk
    held = [entry.term for entry in disk.entries if entry.index > state.log.prev_index]
    same_vote = (state.term, state.voted_for) == (disk.hard_state.term, disk.hard_state.voted_for)
    return "" if same_vote and held == machine.log_terms else _write_disk(machine)


def _write_disk(machine: Machine) -> str:
    disk = machine.disk
    before = disk.last_index - len(disk.entries)
    log = f"{before}:" * bool(before) + write_log([entry.term for entry in disk.entries])
    return (
        f"; disk term={disk.hard_state.term} vote={node_name(disk.hard_state.voted_for)} log={log}"
    )
