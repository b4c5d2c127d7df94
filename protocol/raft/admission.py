"""Admission: how a node gets a membership: it founds a cluster, forms one with others, or joins.

    new, without --join        founds a cluster of one after a quiet period   (founding.py)
    new, --join and --expect   forms one together with the nodes it expects   (bootstrap.py)
    --join                     asks to be let in                              (joining.py)
    --standby                  waits for an invitation
    a member at a new address  announces it                                   (joining.py)
    removed                    ends, unless it was told to rejoin or stand by

A node that is removed before any of the log has reached its disk counts as new.

The shell passes in frames and time, and sends what a turn puts into the outbox.
"""

from collections.abc import Callable
from enum import Enum

import msgspec

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
from protocol.raft.bootstrap import Bootstrap
from protocol.raft.founding import Founding
from protocol.raft.joining import ASKED_MAX, Joining
from protocol.raft.node import RaftNode

FIRST_NOTE_SECONDS = 2.0  # how long a node waits silently for its admission
NOTE_SECONDS = 10.0  # between two notes of what it waits for
FOUNDING_INDEX = 1  # of the entry by which a founder makes itself the only member

ALONE = "--join names nobody but this node"


class NoteLevel(Enum):
    """How loudly a note is logged."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class Note(msgspec.Struct, frozen=True):
    """A sentence for the operator."""

    level: NoteLevel
    text: str


class AdmissionFailure(msgspec.Struct, frozen=True):
    """The reason why this node ends for good: the name of its error class, and a sentence."""

    error: str
    text: str


class AdmissionOutbox(msgspec.Struct):
    """The effects of one turn."""

    questions: list[tuple[str, PeerMessage]] = msgspec.field(default_factory=list)  # by address
    storage: list[AdoptCluster] = msgspec.field(default_factory=list)
    notes: list[Note] = msgspec.field(default_factory=list)
    failure: AdmissionFailure | None = None


class Admission:
    """One node's way into its cluster. Times are seconds of any steady clock."""

    def __init__(
        self, core: RaftNode, config: NodeConfig, new_cluster: Callable[[], bytes], now: float
    ) -> None:
        """Begin with what the directory held; ``new_cluster`` draws the id of a cluster."""
        self._core = core
        self._config = config
        self._new_cluster = new_cluster
        self._address = str(config.address)
        self._expects = config.expected_addresses
        self._joining = Joining(config.join_cluster, self._address, rejoin=config.rejoin)
        # A removed node comes back only where somebody wants it: by its settings or an invitation.
        self._may_return = config.rejoin or config.standby
        self._invited = bool(config.join_cluster)
        self._decline_at = now  # when the next invitation that is declined is noted
        self._settled_once = False
        self._removal_noted = False
        self._bootstrap: Bootstrap | None = None
        self._founding: Founding | None = None
        self._troubles: dict[str, str] = {}  # by address: why it cannot be asked
        self._note_at = now + FIRST_NOTE_SECONDS
        self._outbox = AdmissionOutbox()
        self.is_idle = False  # a member needs no turn until something happens that may concern it
        self._begin(now)

    def _begin(self, now: float) -> None:
        if self._core.cluster:
            self._warn_if_alone()
            if self._core.is_alone and self._core.membership_index == FOUNDING_INDEX:
                # The quiet period is long over, but the claim of another cluster still counts.
                self._founding = Founding(self._core.id, self._address, now)
        elif self._expects:
            self._bootstrap = Bootstrap(self._core.id, self._address, self._expects)
        elif not self._config.join_cluster and not self._config.standby:
            quiet_until = now + self._config.founding_ms / 1000
            self._founding = Founding(self._core.id, self._address, quiet_until)

    @property
    def is_asking(self) -> bool:
        """Whether answers to this node's questions may still come."""
        claimed = self._founding is not None and self._founding.is_asking
        return claimed or self._bootstrap is not None or self._wants_to_join()

    @property
    def deadline(self) -> float:
        """When ``turn`` should be called though nothing has arrived."""
        if self.is_idle:
            return NEVER
        if self._bootstrap is not None:
            return self._bootstrap.ask_at
        if self._founding is not None and self._is_founding:
            return self._founding.deadline
        return self._joining.ask_at if self._wants_to_join() else NEVER

    def wake(self) -> None:
        """Look again in the next turn: leadership, term or membership have changed."""
        self.is_idle = False

    # --- receiving

    def answer(self, frame: PeerFrame, message: PeerMessage) -> PeerMessage | None:
        """Return the answer to a question of a node that need not be a member, if it is one."""
        match message:
            case ClusterQuery():
                return self._answer_query()
            case JoinRequest():
                return self._answer_join(frame, message)
        return None

    def hear(self, frame: PeerFrame, message: PeerMessage, now: float) -> None:
        """Take in an invitation, or the answer to a question of this node."""
        self.is_idle = False
        match message:
            case Invitation(address=address):
                self._hear_invitation(frame, address, now)
            case JoinReply():
                self._hear_join_reply(frame, message, now)
            case ClusterReply():
                self._hear_cluster(frame, message, now)

    def hear_foreign(self, frame: PeerFrame, now: float) -> None:
        """Take in a frame of another cluster's member, which may claim this node's address."""
        if self._founding is not None and frame.cluster:
            self._founding.hear_claim(frame.address, now)
            self.is_idle = False

    def learn_trouble(self, address: str, trouble: str) -> None:
        """Learn why an address cannot be asked, '' if it can: the operator hears it at once."""
        is_new = trouble and self._troubles.get(address) != trouble
        if len(self._troubles) >= ASKED_MAX:
            self._troubles.clear()
        self._troubles[address] = trouble
        if is_new and (self._bootstrap is not None or self._wants_to_join()):
            self._note(NoteLevel.WARNING, f"{address} {trouble}; asking it until it answers")

    def _answer_query(self) -> ClusterReply:
        """A founder names its cluster only when that is durable: a crash would take it back."""
        if self._core.belongs_durably:
            return ClusterReply(self._core.cluster, self._core.membership)
        expects = () if self._bootstrap is None else self._bootstrap.expects
        return ClusterReply(b"", Membership(), expects)

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
        elif frame.cluster and (reply.accepted or (is_listed and not self._core.cluster)):
            self._adopt(frame.cluster)
            self._vouch(frame, reply)

    def _vouch(self, frame: PeerFrame, reply: JoinReply) -> None:
        if frame.cluster == self._core.cluster:
            self._core.vouch(MembershipAt(reply.index, reply.membership), reply.term)

    def _hear_cluster(self, frame: PeerFrame, reply: ClusterReply, now: float) -> None:
        if self._founding is not None:
            self._founding.hear(frame.address, reply, now)
        if self._bootstrap is not None:
            self._bootstrap.hear(frame, reply, now)

    def _adopt(self, cluster: bytes) -> None:
        """Belong to the cluster whose leader has begun to add this node."""
        if not self._core.cluster:
            self._note(NoteLevel.INFO, f"joining cluster {cluster.hex()}")
            self._outbox.storage.append(AdoptCluster(cluster))
        self._core.adopt(cluster)

    def _refuse_cluster(self, frame: PeerFrame, reply: JoinReply) -> None:
        """Give up where the settings name another cluster than the directory is of.

        A member that has moved goes on: those of its own cluster are asked as well. So does a
        node that was invited: no message from afar may end it.
        """
        is_member = self._core.committed_member is not None and not self._core.removed
        if frame.cluster and self._config.join_cluster and not is_member:
            self._fail(
                "ClusterJoinFailed",
                f"{reply.refusal}, and the data of this node to cluster "
                f"{self._core.cluster.hex()}; start it with a new directory",
            )

    # --- a turn

    def turn(self, now: float) -> AdmissionOutbox:
        """Ask and decide what is due; not needed while ``is_idle``."""
        self._note_removal()
        if self._bootstrap is not None:
            self._turn_bootstrap(self._bootstrap, now)
        if self._founding is not None:
            self._turn_founding(self._founding, now)
        if self._bootstrap is None and self._wants_to_join():
            self._join(now)
        elif self._core.is_settled:
            self._invited = False  # a node that is removed later does not come back by itself
            self._settled_once = True
            self.is_idle = not self.is_asking
        self._note_waiting(now)
        outbox, self._outbox = self._outbox, AdmissionOutbox()
        return outbox

    def _turn_bootstrap(self, bootstrap: Bootstrap, now: float) -> None:
        membership = bootstrap.membership(now)
        if membership is not None:
            self._found(membership)
        if membership is not None or bootstrap.found_cluster:
            self._bootstrap = None
            return
        self._ask(bootstrap.take_questions(now))

    def _turn_founding(self, founding: Founding, now: float) -> None:
        if self._core.cluster and not self._core.is_alone:
            self._founding = None  # others have joined: what this node has founded stands
            return
        self._ask(founding.take_questions(now))
        taken = founding.taken
        if taken is not None:
            self._fail(
                "AddressTaken",
                f"{self._address} is the address of a member of cluster {taken.cluster.hex()}, "
                f"and this directory {self._holding}: if that member's directory was lost, start "
                f"an empty one with --join {taken.claimant} --rejoin",
            )
        elif self._is_founding and founding.is_over(now):
            self._found(Membership((Member(self._core.id, self._address, voter=True),)))

    def _found(self, membership: Membership) -> None:
        cluster = self._new_cluster()
        self._note(NoteLevel.INFO, f"founding cluster {cluster.hex()}")
        self._core.found(cluster, membership)

    @property
    def _holding(self) -> str:
        """Return in words what would be lost with the directory of a node that founded alone."""
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
        """Whether the cluster has yet to learn of this node, or of its address."""
        if self._core.removed:
            return self._invited and self._may_return
        # One that is listed need not ask: a late request could undo its removal.
        member = self._core.committed_member or self._core.membership.get(self._core.id)
        if member is None:
            return self._invited
        return member.address != self._address

    def _join(self, now: float) -> None:
        if self._core.leads:
            # A leader that has moved tells itself.
            self._core.join(self._core.id, self._joining.request)
            return
        # A removed node asks only where its operator wants it: its log names the former cluster.
        known = Membership() if self._core.removed else self._core.membership
        others = known.without(self._core.id)  # nobody is at its own former address any more
        address = self._joining.take_address(others, now)
        if address:
            self._outbox.questions.append((address, self._joining.request))

    def _ask(self, addresses: list[str]) -> None:
        self._outbox.questions.extend((address, ClusterQuery()) for address in addresses)

    # --- for the operator

    def _note_removal(self) -> None:
        """Say once that this node was removed; where it was started as such, let it end."""
        if not self._core.removed or self._removal_noted or self._wants_to_join():
            return
        self._removal_noted = True
        text = f"this node was removed from cluster {self._core.cluster.hex()}"
        if self._settled_once:
            self._note(NoteLevel.WARNING, f"{text} and serves no client any more")
        elif not self._may_return:
            self._fail("NodeRemoved", f"{text}; start it with --join and --rejoin to bring it back")

    def _warn_if_alone(self) -> None:
        """Warn where the cluster to join was named only after the first start."""
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
