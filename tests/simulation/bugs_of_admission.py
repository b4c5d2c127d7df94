"""Bugs in founding, forming and joining clusters."""

from protocol.raft import membership_changes, quorum_guard
from protocol.raft.admission import Admission
from protocol.raft.bootstrap import Bootstrap
from protocol.raft.joining import Joining
from protocol.raft.moving import Moving
from protocol.raft.state import RaftState
from tests.simulation.bug import Bug, Edit

BUGS = (
    Bug(
        "a cluster is founded without all nodes that are expected",
        "consul bootstrap_expect",
        Edit(Bootstrap.membership, "or not is_complete ", ""),
    ),
    Bug(
        "every expected node may found the cluster",
        "consul bootstrap_expect",
        Edit(Bootstrap.membership, "or self._address != self.expects[0]", ""),
    ),
    Bug(
        "a removed node asks for a membership though it was not told to",
        "what users expect of a removal",
        Edit(Admission._wants_to_join, "self._invited and self._may_return", "True"),
        Edit(Admission._hear_join_reply, "if not self._wants_to_join():", "if False:"),
    ),
    Bug(
        "a node that rejoins stands beside its lost former self",
        "two members at one address",
        Edit(membership_changes._with_joiner, "if here is not None:", "if False:"),
    ),
    Bug(
        "a stranger takes the place of a member that answers",
        "rejoin is for nodes that lost their data",
        Edit(
            quorum_guard.why_in_place,
            "if node == state.id:",
            "return None\n    if node == state.id:",
        ),
    ),
    Bug(
        "a voter is removed though those left do not answer",
        "dissertation §4.1; etcd's reconfiguration check",
        Edit(
            quorum_guard.why_at_risk,
            "if is_majority(len(_answering(state, leader, voters, since)), len(voters)):",
            "if voters:",
        ),
    ),
    Bug(
        "a copied directory takes part beside its original",
        "two voters of one identity",
        Edit(Moving.hear, "self.is_copy |= ", "self.is_copy &= "),
    ),
    Bug(
        "a request to join that was sent before the removal is granted",
        "a membership change is a compare-and-set",
        Edit(membership_changes._is_up_to_date, "(request.index, request.term) == latest", "True"),
    ),
    Bug(
        "a former member comes back by starting at another address",
        "what users expect of a removal",
        Edit(membership_changes._let_in, "known is None and request.is_member", "False"),
    ),
    Bug(
        "a moved node does not say that it is a member",
        "what users expect of a removal",
        Edit(Joining.request_of, "is_member and not self.request.rejoin", "False"),
    ),
    Bug(
        "a moved node is taken for a removed one",
        "a move changes an address, not a membership",
        Edit(
            membership_changes._let_in, "known is None and request.is_member", "request.is_member"
        ),
    ),
    Bug(
        "a removal is forgotten in a crash",
        "what users expect of a removal",
        Edit(RaftState.set_removed, "self._write_hard_state()", "pass"),
    ),
)
