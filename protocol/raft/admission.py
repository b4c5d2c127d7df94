"""Admission: a node founds a cluster, forms one with others, or joins one.

    new, without --join        founds a cluster of one after a quiet period   (founding.py)
    new, --join and --expect   forms one together with the nodes it expects   (bootstrap.py)
    --join                     asks for membership                            (joining.py)
    --standby                  waits for an invitation
    a member at a new address  announces it                                   (joining.py)
    removed                    ends, unless started with --rejoin or --standby

A node that is removed before it knows its addition to be committed counts as new.

The shell passes in frames and time, and sends the messages in the outbox of each turn.
"""

from collections.abc import Callable

from protocol.config import NodeConfig
from protocol.deadlines import NEVER
from protocol.membership import Member, Membership, MembershipAt
from protocol.messages.peer import (
    ClusterQuery,
    ClusterReply,
    Invitation,
    JoinReply,
    JoinRequest,
    PeerFrame,
    PeerMessage,
)
from protocol.messages.storage import AdoptCluster
from protocol.raft.admission_outbox import AdmissionFailure, AdmissionOutbox, Note, NoteLevel
from protocol.raft.bootstrap import Bootstrap
from protocol.raft.founding import Founding
from protocol.raft.joining import ASKED_MAX, Joining
from protocol.raft.node import RaftNode

FIRST_NOTE_SECONDS = 2.0  # of waiting for admission before the first note
NOTE_SECONDS = 10.0  # between two notes about the wait
FOUNDING_INDEX = 1  # of the entry that makes a founder the only member

ALONE = "--join names only this node"
OUTDATED = (
    "the cluster of this directory has been upgraded to a newer version of skiff than this one: "
    "start this node with that version; the directory was left as it is"
)


class Admission:
    """The admission of one node to its cluster. Times are seconds of any steady clock."""

    def __init__(
        self, core: RaftNode, config: NodeConfig, new_cluster: Callable[[], bytes], now: float
    ) -> None:
        """Start from the recovered core; ``new_cluster`` returns a new cluster id."""
        self._core = core
        self._config = config
        self._new_cluster = new_cluster
        self._address = str(config.address)
        self._expects = config.expected_addresses
        self._joining = Joining(
            config.join_cluster, self._address, rejoin=config.rejoin, level=core.level
        )
        # A removed node comes back only by an operator's wish: its settings or an invitation.
        self._may_return = config.rejoin or config.standby
        self._invited = bool(config.join_cluster)
        self._decline_at = now  # when to note a declined invitation again
        self._settled_once = False
        self._removal_noted = False
        self._bootstrap: Bootstrap | None = None
        self._founding: Founding | None = None
        self._troubles: dict[str, str] = {}  # address to the reason why it is unreachable
        self._note_at = now + FIRST_NOTE_SECONDS
        self._outbox = AdmissionOutbox()
        self.is_idle = False  # a settled member needs no turn until a message arrives
        self._begin(now)

    def _begin(self, now: float) -> None:
        if self._core.cluster:
            self._warn_if_alone()
            if self._core.is_alone and self._core.membership_index == FOUNDING_INDEX:
                # The quiet period is over, but another cluster may still claim the address.
                self._founding = Founding(self._core.id, self._address, now)
        elif self._expects:
            identity = (self._core.id, self._address)
            self._bootstrap = Bootstrap(*identity, self._expects, self._core.level)
        elif not self._config.join_cluster and not self._config.standby:
            quiet_until = now + self._config.founding_ms / 1000
            self._founding = Founding(self._core.id, self._address, quiet_until)

    @property
    def is_asking(self) -> bool:
        """Whether replies to this node's requests may still arrive."""
        claimed = self._founding is not None and self._founding.is_asking
        return claimed or self._bootstrap is not None or self._wants_to_join()

    @property
    def deadline(self) -> float:
        """When to call ``flush`` if no message arrives."""
        if self.is_idle:
            return NEVER
        if self._bootstrap is not None:
            return self._bootstrap.ask_at
        if self._founding is not None and self._is_founding:
            return self._founding.deadline
        return self._joining.ask_at if self._wants_to_join() else NEVER

    def wake(self) -> None:
        """Take the next turn: leadership, term or membership have changed."""
        self.is_idle = False

    # --- receiving

    def answer(self, frame: PeerFrame, message: PeerMessage) -> PeerMessage | None:
        """Return the reply to a request that also non-members may send, or None."""
        match message:
            case ClusterQuery():
                return self._answer_query()
            case JoinRequest():
                return self._answer_join(frame, message)
        return None

    def receive(self, frame: PeerFrame, message: PeerMessage, now: float) -> None:
        """Take an invitation, or the reply to a request of this node."""
        self.is_idle = False
        match message:
            case Invitation(address=address):
                self._hear_invitation(frame, address, now)
            case JoinReply():
                self._hear_join_reply(frame, message, now)
            case ClusterReply():
                self._hear_cluster(frame, message, now)

    def receive_foreign(self, frame: PeerFrame, now: float) -> None:
        """Take a frame of another cluster's member, which may claim this node's address."""
        if self._founding is not None and frame.cluster:
            self._founding.hear_claim(frame.address, now)
            self.is_idle = False

    def learn_trouble(self, address: str, trouble: str) -> None:
        """Record why an address is unreachable, '' if it is not; the operator is warned at once."""
        is_new = trouble and self._troubles.get(address) != trouble
        if len(self._troubles) >= ASKED_MAX:
            self._troubles.clear()
        self._troubles[address] = trouble
        if is_new and (self._bootstrap is not None or self._wants_to_join()):
            self._note(NoteLevel.WARNING, f"{address} {trouble}; asking it until it answers")

    def _answer_query(self) -> ClusterReply:
        """Name the cluster only once it is durable: a founder's crash would take it back."""
        if self._core.belongs_durably:
            return ClusterReply(self._core.cluster, self._core.membership, (), self._core.level)
        expects = () if self._bootstrap is None else self._bootstrap.expects
        return ClusterReply(b"", Membership(), expects, self._core.level)

    def _answer_join(self, frame: PeerFrame, request: JoinRequest) -> JoinReply:
        if not self._core.belongs_durably:
            return JoinReply(False, Membership())
        if frame.cluster and frame.cluster != self._core.cluster:
            refusal = f"{self._address} belongs to another cluster, {self._core.cluster.hex()}"
            return JoinReply(False, Membership(), refusal=refusal)
        return self._core.join(frame.sender, request)

    def _hear_invitation(self, frame: PeerFrame, address: str, now: float) -> None:
        refusal = self._why_declined(frame)
        if not refusal:
            self._joining.invite(address)
            self._invited = True
        elif now >= self._decline_at:
            self._decline_at = now + NOTE_SECONDS
            self._note(NoteLevel.WARNING, f"declined an invitation by {address}: {refusal}")

    def _why_declined(self, frame: PeerFrame) -> str:
        if not self._core.cluster:
            return ""
        if not self._core.removed:
            return "already a member" if self._core.committed_member is not None else ""
        if frame.cluster != self._core.cluster:
            return "it is of another cluster"
        return "" if self._may_return else "removed, and started without --rejoin or --standby"

    def _hear_join_reply(self, frame: PeerFrame, reply: JoinReply, now: float) -> None:
        self._vouch(frame, reply)
        if not self._wants_to_join():
            return
        if self._joining.hear(frame, reply, now):
            self._note(NoteLevel.ERROR, f"cannot join: {reply.refusal}")
        is_listed = reply.membership.get(self._core.id) is not None
        if self._core.cluster and frame.cluster != self._core.cluster:
            self._refuse_cluster(frame, reply)
        elif self._is_member and not is_listed:
            self._core.doubt_membership()
        elif frame.cluster and (reply.accepted or (is_listed and not self._core.cluster)):
            self._adopt(frame.cluster)
            self._vouch(frame, reply)

    def _vouch(self, frame: PeerFrame, reply: JoinReply) -> None:
        if frame.cluster == self._core.cluster:
            joins = not self._request.is_member
            self._core.vouch(MembershipAt(reply.index, reply.membership), reply.term, joins=joins)

    def _hear_cluster(self, frame: PeerFrame, reply: ClusterReply, now: float) -> None:
        if self._founding is not None:
            self._founding.hear(frame.address, reply, now)
        if self._bootstrap is not None:
            self._bootstrap.hear(frame, reply, now)

    def _adopt(self, cluster: bytes) -> None:
        """Belong to the cluster whose leader is adding this node."""
        if not self._core.cluster:
            self._note(NoteLevel.INFO, f"joining cluster {cluster.hex()}")
            self._outbox.storage.append(AdoptCluster(cluster))
        self._core.adopt(cluster)

    def _refuse_cluster(self, frame: PeerFrame, reply: JoinReply) -> None:
        """Fail if the settings name a cluster other than the one of the directory.

        A moved member goes on, because it asks the members of its own cluster as well. An invited
        node goes on too: no remote message may end a node.
        """
        if frame.cluster and self._config.join_cluster and not self._is_member:
            self._fail(
                "ClusterJoinFailed",
                f"{reply.refusal}, and the data of this node to cluster "
                f"{self._core.cluster.hex()}; start it with a new directory",
            )

    # --- a turn

    def flush(self, now: float) -> AdmissionOutbox:
        """Send the requests and take the decisions that are due; not needed while ``is_idle``."""
        if self._core.is_outdated and not self._core.removed:
            self._fail("StorageError", OUTDATED)
        self._note_removal()
        if self._bootstrap is not None:
            self._flush_bootstrap(self._bootstrap, now)
        if self._founding is not None:
            self._flush_founding(self._founding, now)
        if self._bootstrap is None and self._wants_to_join():
            self._join(now)
        elif self._core.is_settled:
            self._invited = False  # after a later removal, it does not come back by itself
            self._settled_once = True
            self.is_idle = not self.is_asking
        self._note_waiting(now)
        outbox, self._outbox = self._outbox, AdmissionOutbox()
        return outbox

    def _flush_bootstrap(self, bootstrap: Bootstrap, now: float) -> None:
        membership = bootstrap.membership(now)
        if membership is not None:
            self._found(membership)
        if membership is not None or bootstrap.found_cluster:
            self._bootstrap = None
            return
        self._ask(bootstrap.take_requests(now))

    def _flush_founding(self, founding: Founding, now: float) -> None:
        if self._core.cluster and not self._core.is_alone:
            self._founding = None  # other nodes have joined, so that the cluster stands
            return
        self._ask(founding.take_requests(now))
        taken = founding.taken
        if taken is not None:
            self._fail(
                "AddressTaken",
                f"{self._address} is the address of a member of cluster {taken.cluster.hex()}, "
                f"and this directory {self._holding}: if that member's directory was lost, start "
                f"an empty one with --join {taken.claimant} --rejoin",
            )
        elif self._is_founding and founding.is_over(now):
            alone = Member(self._core.id, self._address, voter=True, level=self._core.level)
            self._found(Membership((alone,)))

    def _found(self, membership: Membership) -> None:
        cluster = self._new_cluster()
        self._note(NoteLevel.INFO, f"founding cluster {cluster.hex()}")
        self._core.found(cluster, membership)

    @property
    def _holding(self) -> str:
        """Return in words what the directory of a sole founder holds."""
        if self._core.cluster:
            return (
                f"holds another one, {self._core.cluster.hex()}; keep it (skiff backup reads it at "
                "another address) where something was written there"
            )
        return "holds nothing of it"

    @property
    def _is_founding(self) -> bool:
        return self._founding is not None and not self._core.cluster

    def _wants_to_join(self) -> bool:
        """Whether the cluster does not list this node yet, or not its address."""
        if self._core.removed:
            return self._invited and self._may_return
        if self._core.addition_lost:
            return self._invited
        # A listed node does not ask: a late request could undo its removal.
        member = self._core.committed_member or self._core.membership.get(self._core.id)
        if member is None:
            return self._invited
        return member.address != self._address

    @property
    def _is_member(self) -> bool:
        """Whether this node was a member, and knows of no removal."""
        return self._core.was_member and not self._core.removed

    @property
    def _request(self) -> JoinRequest:
        return self._joining.request_of(is_member=self._is_member)

    def _join(self, now: float) -> None:
        if self._core.leads:  # a leader that has moved changes its own address
            self._core.join(self._core.id, self._request)
            return
        # A removed node asks only the addresses from its settings or an invitation.
        known = Membership() if self._core.removed else self._core.membership
        others = known.without(self._core.id)  # not its own former address
        address = self._joining.take_address(others, now)
        if address:
            self._outbox.requests.append((address, self._request))

    def _ask(self, addresses: list[str]) -> None:
        self._outbox.requests.extend((address, ClusterQuery()) for address in addresses)

    # --- for the operator

    def _note_removal(self) -> None:
        """Note the removal of this node once; fail if it was removed before it was started."""
        if not self._core.removed or self._removal_noted or self._wants_to_join():
            return
        self._removal_noted = True
        text = f"this node was removed from cluster {self._core.cluster.hex()}"
        if self._settled_once:
            self._note(NoteLevel.WARNING, f"{text} and serves no client any more")
        elif not self._may_return:
            self._fail("NodeRemoved", f"{text}; start it with --join and --rejoin to bring it back")

    def _warn_if_alone(self) -> None:
        """Warn if --join was set only after the first start."""
        if self._config.join_cluster and self._core.is_alone:
            self._note(
                NoteLevel.WARNING,
                f"this node is the only member of cluster {self._core.cluster.hex()} and joins no "
                "other one; for that, start it with a new directory",
            )

    def _note_waiting(self, now: float) -> None:
        if now < self._note_at:
            return
        self._note_at = now + NOTE_SECONDS
        if self._bootstrap is not None:
            waits_for = (
                self._bootstrap.missing(now, self._troubles)
                or f"{self._bootstrap.expects[0]} to found it"
            )
            self._note(NoteLevel.WARNING, f"forming a cluster: waiting, {waits_for}")
        elif self._wants_to_join():
            self._note(
                NoteLevel.WARNING,
                f"not a member yet: {self._joining.waits_for(now, self._troubles) or ALONE}",
            )
        elif self._is_founding:
            self._note(NoteLevel.WARNING, "not founding a cluster yet: another claims the address")

    def _note(self, level: NoteLevel, text: str) -> None:
        self._outbox.notes.append(Note(level, text))

    def _fail(self, error: str, text: str) -> None:
        self._outbox.failure = self._outbox.failure or AdmissionFailure(error, text)
