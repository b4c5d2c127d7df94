"""Log replicator: runs the Raft core and the peer sockets of a node."""

import logging
import time
import uuid
from collections.abc import Iterable
from itertools import chain

from actors.actor import ActorContext, wait_for
from actors.clock import steady_microseconds
from actors.dialer import Dialer
from actors.failure import ActorFailure
from actors.logs import OncePerSender
from actors.moving import refuse_copy
from actors.peer_links import JoinLinks, PeerLinks
from actors.port import Readable
from actors.prober import Prober
from actors.sockets import BindFailed
from protocol.config import NodeConfig
from protocol.messages.gateway import HandshakesRefused, Leadership
from protocol.messages.peer import (
    ClusterQuery,
    Invitation,
    JoinRequest,
    MembershipQuery,
    MembershipReply,
    PeerFrame,
)
from protocol.messages.replicator import (
    CommitNoticeDue,
    InviteMember,
    Recovered,
    ReplicatorMessage,
    StepAside,
)
from protocol.raft.admission import Admission
from protocol.raft.admission_outbox import AdmissionOutbox
from protocol.raft.node import RaftNode
from protocol.raft.outbox import Outbox
from protocol.raft.pacing import Pacing
from protocol.raft.senders import RejectedFrame, UnknownSender
from protocol.raft.vouching import Vouching
from protocol.silence import Silence
from protocol.wire import decode_for_replicator, encode

STEP_ASIDE_SECONDS = 0.4  # for which a stopping leader waits for its successor
VOUCHING_IDLE_SECONDS = 2.0  # after the last query, when no more answers are expected
UNKNOWN_NAMED_MAX = 100  # senders logged one by one; a flood is not

log = logging.getLogger("skiff.log_replicator")


class LogReplicator:
    """Runs the Raft core; the only actor that exchanges messages with other nodes."""

    def __init__(self, context: ActorContext) -> None:
        self._context = context
        self._sockets = context.sockets
        self._inbox = self._sockets.inbox("replicator")
        self._storage = self._sockets.outbox("storage")
        self._gateway = self._sockets.outbox("gateway")
        self._timer = self._sockets.outbox("timer")
        self._address = str(context.config.address)
        self._dialer = Dialer(self._sockets)
        self._invitation_links = JoinLinks(self._dialer)
        self._admission_links = JoinLinks(self._dialer)  # to nodes that are asked for membership
        self._prober = Prober()
        recovered, others = self._wait_for_storage()
        self._core = _raft_node(recovered, context.config)
        self._admission = Admission(
            self._core, context.config, lambda: uuid.uuid4().bytes, time.monotonic()
        )
        self._links = self._listen(recovered)
        context.memory.watch(self._links.connections)
        self._strange = OncePerSender()
        self._unknown: set[bytes] = set()  # senders already logged
        self._vouching = Vouching(context.config.join_cluster, self._address)
        self._vouching_links = JoinLinks(self._dialer)
        self._pacing = Pacing()
        self._stop_at = 0.0
        self._stalled = False
        self._refused_reported = 0
        self._silence = Silence()
        context.log_fields.node = recovered.node.hex()[:8]
        context.log_fields.learn_term(recovered.hard_state.term)
        self._trace = context.trace(recovered.node)
        self._begin(others)
        context.ready(recovered.node)

    def _wait_for_storage(self) -> tuple[Recovered, list[ReplicatorMessage]]:
        """Return the recovered state, and the messages that arrived meanwhile."""
        inbox, context = self._inbox, self._context
        recovered, others = wait_for(context, inbox, decode_for_replicator, Recovered)
        return recovered, others + refuse_copy(context, inbox, recovered)

    def _begin(self, messages: Iterable[ReplicatorMessage]) -> None:
        """Run the first turn, with the messages that arrived before it."""
        self._core.set_time(steady_microseconds())
        for message in messages:
            self._step(message)
        self._admit()
        self._finish_turn()

    def timeout(self) -> float:
        """Return the seconds until a commit notice, a clock report or a join request is due."""
        due = min(self._pacing.deadline, self._admission.deadline, self._silence.deadline)
        if self._core.wants_vouchers:
            due = min(due, self._vouching.ask_at)
        return due - time.monotonic()

    def turn(self, readable: Readable) -> None:
        """Process all messages that have arrived, peers' first, and send the results.

        A leader's message therefore counts before an election deadline that passed at the same
        time.
        """
        self._core.set_time(steady_microseconds())
        if self._links.is_readable(readable):
            for connection, frame in self._links.receive():
                self._receive(connection, frame)
        if self._inbox in readable:
            self._receive_from_actors()
        if self._pacing.is_commit_notice_due(time.monotonic()):
            self._core.step(CommitNoticeDue())
        self._serve_non_members()
        self._finish_turn()

    def stop(self) -> float:
        """Hand leadership over before stopping, if there is another voter."""
        now = time.monotonic()
        if not self._stop_at:
            self._stop_at = now + STEP_ASIDE_SECONDS if self._core.leads else now
        # Repeated: a quorum check may have ended the transfer before the successor caught up.
        self._core.step(StepAside())
        self._finish_turn()
        alone = len(self._core.membership.voters) == 1
        # The successor may need this node's vote, so that it stays until another node leads.
        return 0.0 if alone or self._core.follows else self._stop_at - now

    def close(self) -> None:
        """Write the trace."""
        self._trace.write()

    def _listen(self, recovered: Recovered) -> PeerLinks:
        try:
            peers_max = self._context.limits.peers
            return PeerLinks(self._dialer, self._context.config, recovered, peers_max)
        except BindFailed as error:
            raise ActorFailure("RPCBindFailed", str(error), lasting=True) from error

    def _receive_from_actors(self) -> None:
        for encoded in self._inbox.drain_single():
            messages = decode_for_replicator(encoded)
            self._trace.note("receives", messages)
            for message in messages:
                self._step(message)

    def _receive(self, connection: bytes, frame: PeerFrame) -> None:
        match frame.messages:
            case (JoinRequest() | ClusterQuery() as request,):
                answer = self._admission.answer(frame, request)
                if answer is not None:
                    self._links.answer(connection, self._core.cluster, answer)
                if self._core.is_of_member(frame):  # it has moved: no leader may know that yet
                    self._links.note_contact(frame.sender, frame.address)
            case (Invitation() as invitation,):
                self._admission.receive(frame, invitation, time.monotonic())
            case (MembershipQuery(),):
                self._answer_membership_query(connection, frame)
            case _:
                self._receive_from_member(frame)

    def _receive_from_member(self, frame: PeerFrame) -> None:
        self._trace.note("receives", frame.messages)
        try:
            self._core.receive(frame)
        except UnknownSender as unknown:
            self._warn_of_unknown(frame)
            if unknown.is_answered:
                self._links.open_reply_link(frame.sender, frame.address)
        except RejectedFrame as error:
            self._admission.receive_foreign(frame, time.monotonic())
            # A node that has not joined yet may receive messages from members that list it.
            is_odd = bool(self._core.cluster)
            if is_odd and self._strange.is_new(frame.sender + str(error).encode()):
                log.warning("dropped a frame of node %s: %s", frame.sender.hex()[:8], error)
        else:
            self._links.note_contact(frame.sender, frame.address)

    def _warn_of_unknown(self, frame: PeerFrame) -> None:
        if not self._core.membership.members:
            return  # it does not know the members of its cluster yet
        if len(self._unknown) == UNKNOWN_NAMED_MAX or frame.sender in self._unknown:
            return
        self._unknown.add(frame.sender)
        if len(self._unknown) == UNKNOWN_NAMED_MAX:
            log.warning(
                "dropped frames of %s unknown nodes; further ones are not logged",
                len(self._unknown),
            )
        else:
            log.warning(
                "dropped a frame of node %s at %s: no known member has vouched for it; if all "
                "known members have been replaced, start this node with --join and the address "
                "of a current member",
                frame.sender.hex()[:8],
                frame.address,
            )

    def _answer_membership_query(self, connection: bytes, frame: PeerFrame) -> None:
        """Answer a node of this cluster, member or not, that asks for the memberships."""
        if self._core.cluster and frame.cluster == self._core.cluster:
            self._links.answer(connection, self._core.cluster, self._core.membership_reply())

    def _serve_non_members(self) -> None:
        """Exchange messages with nodes that are not peers; most members have nothing to do here."""
        if self._core.wants_vouchers or self._vouching_links.links:
            self._vouch()
        if self._admission_links.links:
            self._receive_admission_replies()
        if not self._admission.is_idle:
            self._admit()

    def _vouch(self) -> None:
        """Ask members about unknown nodes of this cluster, and process the answers."""
        for frame in self._vouching_links.receive():
            for message in frame.messages:
                if isinstance(message, MembershipReply) and frame.cluster == self._core.cluster:
                    self._core.on_membership_reply(frame.sender, message)
        now = time.monotonic()
        if self._core.cluster and self._core.wants_vouchers:
            query = self._links.frame(self._core.cluster, MembershipQuery())
            for address in self._vouching.take_addresses(self._core.membership, now):
                self._vouching_links.send(address, query)
        elif now > self._vouching.ask_at + VOUCHING_IDLE_SECONDS:
            self._vouching_links.close()

    def _step(self, message: ReplicatorMessage) -> None:
        match message:
            case InviteMember(address=address):
                frame = self._links.frame(self._core.cluster, Invitation(self._address))
                self._invitation_links.send(address, frame)
            case _:
                self._core.step(message)

    # --- admission

    def _receive_admission_replies(self) -> None:
        """Process the replies to this node's join requests and cluster queries."""
        for frame in self._admission_links.receive():
            for message in frame.messages:
                self._admission.receive(frame, message, time.monotonic())

    def _admit(self) -> None:
        for address, trouble in self._prober.results():
            self._admission.learn_trouble(address, trouble or self._dialer.trouble_of(address))
        outbox = self._admission.flush(time.monotonic())
        self._log(outbox)
        for address, request in outbox.requests:
            self._admission_links.send(address, self._links.frame(self._core.cluster, request))
            self._prober.probe(address)
        if outbox.storage:
            self._storage.send(encode(outbox.storage))
        if not self._admission.is_asking:
            self._admission_links.close()

    def _log(self, outbox: AdmissionOutbox) -> None:
        """Log the notes for the operator.

        Raises:
            ActorFailure: the node must end.
        """
        for note in outbox.notes:
            log.log(logging.getLevelNamesMapping()[note.level.name], "%s", note.text)
        if outbox.failure is not None:
            raise ActorFailure(outbox.failure.error, outbox.failure.text, lasting=True)

    # --- the end of a turn

    def _finish_turn(self) -> None:
        self._core.set_time(steady_microseconds())
        outbox = self._core.flush()
        self._trace.note("sends", chain(*outbox.peers.values(), outbox.storage))
        self._links.send(self._core.cluster, outbox.peers)
        if outbox.storage:
            self._storage.send(encode(outbox.storage))
        if outbox.gateway:
            self._gateway.send(encode(outbox.gateway))
            self._note_leadership(outbox)
        if outbox.complaints:
            self._log_complaints(outbox)
        now = time.monotonic()
        report = self._pacing.take_report(outbox.clock, now)
        if report is not None:
            self._timer.send(encode([report]))
        self._pacing.schedule_commit_notice(now, owed=self._core.owes_commit_notice)
        self._links.follow(self._core.membership)
        if self._silence.deadline <= now:
            self._log_silence(now)
        self._report_refusals()

    def _report_refusals(self) -> None:
        """Report the connections that the peer port has refused, for status and audit."""
        refused = self._links.connections.refused
        hosts = self._links.connections.take_refused()
        if hosts or refused != self._refused_reported:
            self._refused_reported = refused
            self._gateway.send(encode([HandshakesRefused(refused, dict(hosts))]))

    def _log_complaints(self, outbox: Outbox) -> None:
        for each in outbox.complaints:
            if self._strange.is_new(each.sender + each.subject.encode()):
                log.error("node %s: %s", each.sender.hex()[:8], each.sentence)

    def _note_leadership(self, outbox: Outbox) -> None:
        for message in outbox.gateway:
            if isinstance(message, Leadership):
                self._context.log_fields.learn_term(message.term)
                self._admission.wake()
                self._silence.observe(message, time.monotonic())
                self._log_silence(time.monotonic())
                self._note_stall(message)
                leader = "unknown" if message.leader is None else message.leader.hex()[:8]
                log.info("%s, leader is %s", message.role.name.lower(), leader)

    def _log_silence(self, now: float) -> None:
        for warning in self._silence.take_notes(now):
            log.warning("%s", warning)

    def _note_stall(self, message: Leadership) -> None:
        """Log when storage stops answering and when it answers again."""
        if message.stalled and not self._stalled:
            log.error("the storage of this node does not answer: is its disk at fault?")
        elif self._stalled and not message.stalled:
            log.warning("the storage of this node answers again")
        self._stalled = message.stalled


def _raft_node(recovered: Recovered, config: NodeConfig) -> RaftNode:
    election_timeout_min_us = int(config.election_timeouts.shortest * 1_000_000)
    return RaftNode(
        recovered, config.log_limits, election_timeout_min_us, learners_max=config.learners_max
    )
