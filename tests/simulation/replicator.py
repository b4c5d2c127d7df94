"""Replicator: the log replicator of a simulated node, with the real core."""

from typing import TYPE_CHECKING

from protocol.deadlines import NEVER
from protocol.membership import Membership, NodeId
from protocol.messages.peer import (
    PEER_PROTOCOL_VERSION,
    ClusterQuery,
    ClusterReply,
    ForwardMembershipChange,
    Invitation,
    JoinReply,
    JoinRequest,
    MembershipQuery,
    MembershipReply,
    PeerFrame,
    PeerMessage,
)
from protocol.messages.replicator import (
    CommitNoticeDue,
    InviteMember,
    Recovered,
    RemoveMember,
    ReplicatorMessage,
)
from protocol.raft.admission import Admission
from protocol.raft.node import RaftNode
from protocol.raft.pacing import Pacing
from protocol.raft.senders import RejectedFrame, UnknownSender
from protocol.raft.vouching import Vouching
from protocol.state.batches import check_proposal
from protocol.state.levels import STATE_LEVEL
from tests.simulation import spaces
from tests.simulation.actor import Actor
from tests.simulation.levels import check_as_older

if TYPE_CHECKING:
    from tests.simulation.life import Life


class Replicator(Actor):
    """Runs the Raft core, and exchanges frames with other nodes."""

    name = "replicator"

    def __init__(self, life: "Life") -> None:
        super().__init__(life)
        self._address = life.node.advertised
        self._judge = life.setting.judge
        self._frames: list[PeerFrame] = []
        self._admission: Admission | None = None
        # Operators have given every address.
        self._vouching = Vouching(life.setting.addresses, self._address)
        self._links: dict[NodeId, str] = {}
        self._linked = Membership()
        self._pacing = Pacing()
        self.core: RaftNode | None = None

    def hear(self, frame: PeerFrame) -> None:
        """Receive a frame of another node."""
        if self.core is None:
            return  # the port is not bound yet
        self._frames.append(frame)
        self.rouse()

    def turn(self) -> None:
        """Handle all messages that have arrived, peers' first, and send the results."""
        if self.core is None and not self._start():
            return
        self._the_core.set_time(self._microseconds())
        frames, self._frames = self._frames, []
        for frame in frames:
            self._receive(frame)
        for message in self._take_inbox():
            self._step(message)
        if self._pacing.is_commit_notice_due(self._events.now):
            self._the_core.step(CommitNoticeDue())
        self._ask_for_vouchers()
        if self._admit():
            self._finish_turn()

    def deadline(self) -> float:
        """Return the time of the next commit notice, timer message or join request."""
        if self.core is None:
            return NEVER
        due = min(self._pacing.deadline, self._the_admission.deadline)
        if self._the_core.wants_vouchers:
            due = min(due, self._vouching.ask_at)
        return due

    @property
    def _the_core(self) -> RaftNode:
        assert self.core is not None
        return self.core

    @property
    def _the_admission(self) -> Admission:
        assert self._admission is not None
        return self._admission

    def _microseconds(self) -> int:
        """Return the time of this node's clock."""
        return int(self._events.now * self.life.node.clock_rate * 1_000_000) + 1

    def _has_arrivals(self) -> bool:
        return bool(self._inbox or self._frames)

    def _start(self) -> bool:
        """Start with the recovered state; like the real one, ignore everything before."""
        while self._inbox:
            recovered = self._inbox.pop(0)
            if isinstance(recovered, Recovered):
                self._judge.node_started(self.life.node, recovered)
                self._incarnation = recovered.incarnation
                options = self.life.setting.options
                election_timeout_min_us = int(self.life.timeouts.shortest * 1_000_000)
                level = self.life.level
                self.core = RaftNode(
                    recovered,
                    options.limits,
                    election_timeout_min_us,
                    level=level,
                    check_proposal=check_as_older if level < STATE_LEVEL else check_proposal,
                )
                config, new_cluster = self.life.node.config, self.life.setting.new_cluster
                now = self._events.now
                self._admission = Admission(self.core, config, new_cluster, now)
                return True
        return False

    # --- receiving

    def _receive(self, frame: PeerFrame) -> None:
        match frame.messages:
            case (JoinRequest() | ClusterQuery() as request,):
                self._answer(frame, request)
            case (JoinReply() | ClusterReply() | Invitation() as message,):
                if isinstance(message, Invitation):
                    self._judge.admitted.welcome(self._the_core.id)
                self._the_admission.receive(frame, message, self._events.now)
            case (MembershipQuery() | MembershipReply() as message,):
                self._exchange_members(frame, message)
            case _ if not self._is_too_late(frame):
                self._receive_from_member(frame)

    def _answer(self, frame: PeerFrame, request: JoinRequest | ClusterQuery) -> None:
        joins = type(request) is JoinRequest
        if joins and not self.life.setting.may_change_members(frame.sender):
            return
        answer = self._the_admission.answer(frame, request)
        if answer is not None:
            self._send(frame.address, answer)
        if self._the_core.is_of_member(frame):
            self._links[frame.sender] = frame.address

    def _exchange_members(
        self, frame: PeerFrame, message: MembershipQuery | MembershipReply
    ) -> None:
        if frame.cluster != self._the_core.cluster:
            return
        if isinstance(message, MembershipReply):
            self._the_core.on_membership_reply(frame.sender, message)
        else:
            self._send(frame.address, self._the_core.membership_reply())

    def _is_too_late(self, frame: PeerFrame) -> bool:
        changes = any(type(message) is ForwardMembershipChange for message in frame.messages)
        return changes and not self.life.setting.may_change_members(None)

    def _receive_from_member(self, frame: PeerFrame) -> None:
        before = spaces.known(self._the_core)
        try:
            self._the_core.receive(frame)
            spaces.judge(self._the_core, before)
        except RejectedFrame as strange:
            self._the_admission.receive_foreign(frame, self._events.now)
            if not (isinstance(strange, UnknownSender) and strange.is_answered):
                return
        if frame.sender != self._the_core.id:
            self._links[frame.sender] = frame.address

    def _step(self, message: ReplicatorMessage) -> None:
        if isinstance(message, InviteMember):
            self._send(message.address, Invitation(self._address))
        elif not isinstance(message, RemoveMember) or self.life.setting.may_change_members(None):
            self._judge.replicator_hears(self.life, message)
            before = spaces.known(self._the_core)
            self._the_core.step(message)
            spaces.judge(self._the_core, before)

    # --- becoming a member

    def _ask_for_vouchers(self) -> None:
        """Ask members about unknown senders."""
        if self._the_core.wants_vouchers:
            membership, now = self._the_core.membership, self._events.now
            for address in self._vouching.take_addresses(membership, now):
                self._send(address, MembershipQuery())

    def _admit(self) -> bool:
        """Run a turn of the node's admission; return False if it ended the node."""
        if self._the_admission.is_idle:
            return True
        belonged = bool(self._the_core.cluster)
        outbox = self._the_admission.flush(self._events.now)
        if self._the_admission.is_asking:
            self._judge.admitted.ask(self._the_core.id)
        elif self._the_core.is_settled:
            self._judge.admitted.settle(self._the_core.id)
        if outbox.failure is not None:
            self._events.note(self._place, "gives up", outbox.failure)
            self._give_up()
            return False
        if self._the_core.cluster and not belonged:
            self._judge.node_founds(self.life.node, self._the_core.membership)
        for address, request in outbox.requests:
            self._send(address, request)
        if outbox.storage:
            self.life.post("replicator storage", self.life.storage, outbox.storage)
        return True

    def _give_up(self) -> None:
        """End a node that was removed; start one that is outdated with the newer build."""
        if self._the_core.is_outdated:
            self.life.node.upgrade()
        else:
            self.life.node.end_as_removed()

    # --- the end of a turn

    def _finish_turn(self) -> None:
        self._the_core.set_time(self._microseconds())
        outbox = self._the_core.flush()
        self._judge.replicator_turn(self._the_core, outbox)
        life = self.life
        if outbox.peers:
            for peer, messages in outbox.peers.items():
                address = self._links.get(peer)
                if address is not None:
                    self._send(address, *messages)
        if outbox.storage:
            self._events.note(self._place, "hands over", outbox.storage)
            life.post("replicator storage", life.storage, outbox.storage)
        if outbox.gateway:
            self._events.note(self._place, "tells", outbox.gateway)
            life.post("replicator gateway", life.gateway, outbox.gateway)
            self._the_admission.wake()
        report = self._pacing.take_report(outbox.clock, self._events.now)
        if report is not None:
            life.post("replicator timer", life.timer, [report])
        owed = self._the_core.owes_commit_notice
        self._pacing.schedule_commit_notice(self._events.now, owed=owed)
        self._follow(self._the_core.membership)

    def _follow(self, membership: Membership) -> None:
        """Update the addresses of the members."""
        if membership is self._linked:
            return
        for member in self._linked.members:
            if membership.get(member.id) is None:
                self._links.pop(member.id, None)
        for member in membership.members:
            if self._linked.get(member.id) != member and member.id != self._the_core.id:
                self._links[member.id] = member.address
        self._linked = membership

    def _send(self, address: str, *messages: PeerMessage) -> None:
        core = self._the_core
        frame = PeerFrame(
            PEER_PROTOCOL_VERSION,
            core.cluster,
            core.id,
            self._incarnation,
            self._address,
            messages,
        )
        self.life.node.send_frame(address, frame)
