"""The voice of the node among its peers: feeds the Raft core and sends what it wants sent."""

import logging
import time
from collections.abc import Iterable
from itertools import chain

from actors.actor import NEVER, Surroundings, run, wait_for
from actors.clock import steady_microseconds
from actors.failure import ActorFailure
from actors.joining import Joining
from actors.logs import OncePerSender
from actors.peer_links import Doors, PeerLinks
from actors.sockets import BindFailed, Readable
from actors.vouching import Vouching
from protocol.membership import Membership, MembershipAt
from protocol.node_messages import (
    AdoptCluster,
    ClockState,
    CommitNoticeDue,
    InviteMember,
    Leadership,
    Recovered,
    ReplicatorMessage,
    StepAside,
)
from protocol.peer_messages import (
    Invitation,
    JoinReply,
    JoinRequest,
    MembershipQuery,
    PeerFrame,
)
from protocol.raft.node import RaftNode, StrangeFrame, UnknownSender
from protocol.raft.outbox import Outbox
from protocol.wire import decode_for_replicator, encode

COMMIT_NOTICE_SECONDS = 0.01  # how long the commit index waits for entries to travel with
CONTACT_SECONDS = 0.03  # the timer need not hear of every single contact with a leader
STEP_ASIDE_SECONDS = 0.4  # how long a leader that is to stop waits for its successor
UNKNOWN_NAMED_MAX = 100  # senders, beyond which a flood of them is not told one by one
FOUNDING_INDEX = 1  # of the entry by which a founder makes itself the only member

log = logging.getLogger("skiff.log_replicator")


class LogReplicator:
    """Runs the Raft core; the only actor that talks to other nodes."""

    def __init__(self, surroundings: Surroundings) -> None:
        self._surroundings = surroundings
        self._sockets = surroundings.sockets
        self._inbox = self._sockets.inbox("replicator")
        self._storage = self._sockets.outbox("storage")
        self._gateway = self._sockets.outbox("gateway")
        self._timer = self._sockets.outbox("timer")
        self._address = str(surroundings.config.address)
        self._guests = Doors(self._sockets)
        config = surroundings.config
        self._joining = Joining(Doors(self._sockets), config.join_cluster, self._address)
        recovered = wait_for(surroundings, self._inbox, decode_for_replicator, Recovered)
        patience = int(config.election_timeouts.shortest * 1_000_000)
        self._core = RaftNode(
            recovered, config.log_limits, patience, learners_max=config.learners_max
        )
        self._alone_since_founding = _is_founding(recovered)
        # Whether it is still to be a member, what its own log says may be long out of date.
        self._invited = bool(config.join_cluster)
        self._links = self._listen(recovered)
        self._joins = self._wants_to_join()
        self._strange = OncePerSender()
        self._unknown: set[bytes] = set()  # senders of which the log has told
        self._vouching = Vouching(Doors(self._sockets), config.join_cluster, self._address)
        self._clock: ClockState | None = None
        self._clock_told = 0.0
        self._commit_notice_at = NEVER
        self._stop_at = 0.0
        self._stalled = False
        surroundings.whereabouts.node = recovered.node.hex()[:8]
        self._trace = surroundings.trace(recovered.node)
        self._warn_if_alone()
        self._finish_turn()
        surroundings.ready(recovered.node)

    def timeout(self) -> float:
        """Return when to send a commit notice, tell the timer or ask to join."""
        due = self._commit_notice_at
        if self._clock is not None:
            due = min(due, self._clock_told + CONTACT_SECONDS)
        if self._joins:
            due = min(due, self._joining.ask_at)
        if self._core.wants_vouchers:
            due = min(due, self._vouching.ask_at)
        return due - time.monotonic()

    def turn(self, readable: Readable) -> None:
        """Take in all that has arrived, peers first, and send what follows from it.

        What a leader has sent is seen before a deadline that passed while this process waited.
        """
        self._core.tell_time(steady_microseconds())
        if self._links.is_readable(readable):
            for connection, frame in self._links.receive():
                self._receive(connection, frame)
        if self._inbox in readable:
            self._hear_actors()
        if self._commit_notice_at != NEVER and self._commit_notice_at <= time.monotonic():
            self._core.step(CommitNoticeDue())
        self._vouch()
        self._joins = self._joins and self._wants_to_join()
        if self._joins:
            self._join()
        elif (self._invited or self._joining.is_open) and self._core.is_settled:
            self._invited = False  # a node that is removed later does not come back by itself
            self._joining.close()  # nobody takes in any more what still comes there
        self._finish_turn()

    def stop(self) -> float:
        """Hand leadership over before the end, where there is somebody to take it."""
        now = time.monotonic()
        if not self._stop_at:
            self._stop_at = now + STEP_ASIDE_SECONDS if self._core.leads else now
        # Again each time: a quorum check may have come before the successor held the whole log.
        self._core.step(StepAside())
        self._finish_turn()
        alone = len(self._core.membership.voters) == 1
        # Its vote may be the one that the successor needs, so that it stays until that one leads.
        return 0.0 if alone or self._core.follows else self._stop_at - now

    def close(self) -> None:
        """Write down the trace."""
        if self._trace is not None:
            self._trace.write()

    def _listen(self, recovered: Recovered) -> PeerLinks:
        try:
            return PeerLinks(self._sockets, self._surroundings.config, recovered)
        except BindFailed as error:
            raise ActorFailure("RPCBindFailed", str(error), lasting=True) from error

    def _warn_if_alone(self) -> None:
        """Tell whoever forgot to name the cluster at the first start that it is too late now."""
        if self._invited and self._core.membership.members == (self._core.committed_member,):
            log.warning(
                "this node is the only member of cluster %s and joins no other one; "
                "for that, start it with a new directory",
                self._core.cluster.hex(),
            )

    def _hear_actors(self) -> None:
        for encoded in self._inbox.drain_single():
            messages = decode_for_replicator(encoded)
            self._note("receives", messages)
            for message in messages:
                self._step(message)

    def _receive(self, connection: bytes, frame: PeerFrame) -> None:
        match frame.messages:
            case (JoinRequest() as request,):
                reply = self._answer_join(frame, request)
                self._links.answer(connection, self._core.cluster, reply)
            case (Invitation(address=address),):
                self._accept_invitation(address)
            case (MembershipQuery(),):
                self._tell_memberships(connection, frame)
            case _:
                self._receive_from_member(frame)

    def _receive_from_member(self, frame: PeerFrame) -> None:
        self._note("receives", frame.messages)
        try:
            self._core.receive(frame)
        except UnknownSender as unknown:
            self._warn_of_unknown(frame)
            if unknown.is_answered:
                self._links.meet(frame.sender, frame.address)
        except StrangeFrame as error:
            if self._may_have_lost_its_directory(frame):
                self._tell_how_to_come_back(frame)
            elif self._strange.is_new(frame.sender + str(error).encode()):
                log.warning("dropped a frame of node %s: %s", frame.sender.hex()[:8], error)
        else:
            self._links.hear(frame.sender, frame.address)

    def _warn_of_unknown(self, frame: PeerFrame) -> None:
        if len(self._unknown) == UNKNOWN_NAMED_MAX or frame.sender in self._unknown:
            return
        self._unknown.add(frame.sender)
        if len(self._unknown) == UNKNOWN_NAMED_MAX:
            log.warning(
                "dropped frames of %s unknown nodes; others are not named", len(self._unknown)
            )
        else:
            log.warning(
                "dropped a frame of node %s at %s: no member that this node knows has vouched for "
                "it; if all of those have been replaced, start this node with --join and the "
                "address of a present member",
                frame.sender.hex()[:8],
                frame.address,
            )

    def _tell_memberships(self, connection: bytes, frame: PeerFrame) -> None:
        """Answer a node of this cluster, be it a member or not, that asks who its members are."""
        if self._core.cluster and frame.cluster == self._core.cluster:
            self._links.answer(connection, self._core.cluster, self._core.tell_memberships())

    def _vouch(self) -> None:
        """Ask about nodes of this cluster that are not known here, and take in the answers."""
        for frame, told in self._vouching.answers():
            if frame.cluster == self._core.cluster:
                self._core.hear_memberships(frame.sender, told)
        if self._core.cluster and self._core.wants_vouchers:
            question = self._links.frame(self._core.cluster, MembershipQuery())
            self._vouching.ask(question, self._core.membership)
        else:
            self._vouching.close_if_answered()

    def _may_have_lost_its_directory(self, frame: PeerFrame) -> bool:
        """Whether members of another cluster take this founder of a new one for one of them."""
        return self._alone_since_founding and frame.cluster not in (b"", self._core.cluster)

    def _tell_how_to_come_back(self, frame: PeerFrame) -> None:
        """Leave it to people what to do: nobody may end a node from afar."""
        if self._strange.is_new(frame.cluster):
            log.error(
                "this address belongs to a member of cluster %s, but the directory is of the new "
                "cluster %s: if the former one was lost, stop this node, empty the directory and "
                "start it with --join %s",
                frame.cluster.hex(),
                self._core.cluster.hex(),
                frame.address,
            )

    def _answer_join(self, frame: PeerFrame, request: JoinRequest) -> JoinReply:
        if not self._core.cluster:
            return JoinReply(False, Membership())
        if frame.cluster and frame.cluster != self._core.cluster:
            refusal = f"{self._address} belongs to another cluster, {self._core.cluster.hex()}"
            return JoinReply(False, Membership(), refusal=refusal)
        return self._core.join(frame.sender, request)

    def _accept_invitation(self, address: str) -> None:
        if self._core.committed_member is not None:
            log.warning("declined an invitation by %s: already member of a cluster", address)
            return
        self._joining.invite(address)
        self._invited = True
        self._joins = self._wants_to_join()

    def _step(self, message: ReplicatorMessage) -> None:
        match message:
            case InviteMember(address=address):
                frame = self._links.frame(self._core.cluster, Invitation(self._address))
                self._guests.send(address, frame)
            case _:
                self._core.step(message)

    # --- becoming a member

    def _wants_to_join(self) -> bool:
        """Whether the cluster has yet to learn of this node, or of its address."""
        member = self._core.committed_member
        if member is None or self._core.removed:
            return self._invited
        return member.address != self._address

    def _join(self) -> None:
        for frame, reply in self._joining.answers():
            if reply.accepted:
                self._begin_membership(frame)
            elif frame.cluster not in (b"", self._core.cluster):
                self._refuse_cluster(reply)
            if frame.cluster == self._core.cluster:
                self._core.vouch(MembershipAt(reply.index, reply.membership))
        if self._core.leads:
            # A leader that has moved tells itself.
            self._core.join(self._core.id, self._joining.request)
        else:
            request = self._links.frame(self._core.cluster, self._joining.request)
            self._joining.ask(request, self._core.membership)

    def _refuse_cluster(self, reply: JoinReply) -> None:
        """Give up where the settings name another cluster than the directory is of.

        A member that has moved goes on: those of its own cluster are asked as well. So does who
        was invited: nobody may end a node from afar.
        """
        is_member = self._core.committed_member is not None and not self._core.removed
        if self._core.cluster and self._surroundings.config.join_cluster and not is_member:
            raise ActorFailure(
                "ClusterJoinFailed",
                f"{reply.refusal}, and the data of this node to cluster "
                f"{self._core.cluster.hex()}; start it with a new directory",
                lasting=True,
            )

    def _begin_membership(self, frame: PeerFrame) -> None:
        """Belong to the cluster whose leader has begun to add this node."""
        if not self._core.cluster:
            log.info("joining cluster %s", frame.cluster.hex())
            self._storage.send(encode([AdoptCluster(frame.cluster)]))
        self._core.adopt(frame.cluster)

    # --- the end of a turn

    def _finish_turn(self) -> None:
        self._core.tell_time(steady_microseconds())
        outbox = self._core.flush()
        if self._trace is not None:
            self._note("sends", chain(*outbox.peers.values(), outbox.storage))
        self._links.send(self._core.cluster, outbox.peers)
        if outbox.storage:
            self._storage.send(encode(outbox.storage))
        if outbox.gateway:
            self._gateway.send(encode(outbox.gateway))
            self._note_leadership(outbox)
        self._log_complaints(outbox)
        self._tell_timer(outbox.clock)
        self._schedule_commit_notice()
        membership = self._core.membership
        self._links.follow(membership)
        if self._alone_since_founding and len(membership.members) > 1:
            self._alone_since_founding = False

    def _log_complaints(self, outbox: Outbox) -> None:
        for each in outbox.complaints:
            if self._strange.is_new(each.sender + each.subject.encode()):
                log.error("node %s: %s", each.sender.hex()[:8], each.sentence)

    def _note_leadership(self, outbox: Outbox) -> None:
        for message in outbox.gateway:
            if isinstance(message, Leadership):
                self._surroundings.whereabouts.term = message.term
                self._joins = self._wants_to_join()
                self._note_stall(message)
                leader = "nobody" if message.leader is None else message.leader.hex()[:8]
                log.info("%s, leader is %s", message.role.name.lower(), leader)

    def _note_stall(self, message: Leadership) -> None:
        """Tell people when storage stops answering and when it goes on; nobody else can see it."""
        if message.stalled and not self._stalled:
            log.error("the storage of this node does not answer: is its disk at fault?")
        elif self._stalled and not message.stalled:
            log.warning("the storage of this node answers again")
        self._stalled = message.stalled

    def _tell_timer(self, clock: ClockState | None) -> None:
        """Pass on the newest state of affairs, but not every single contact with a leader."""
        self._clock = clock or self._clock
        now = time.monotonic()
        if self._clock is not None and now - self._clock_told >= CONTACT_SECONDS:
            self._timer.send(encode([self._clock]))
            self._clock, self._clock_told = None, now

    def _schedule_commit_notice(self) -> None:
        if not self._core.owes_commit_notice:
            self._commit_notice_at = NEVER
        elif self._commit_notice_at == NEVER:
            self._commit_notice_at = time.monotonic() + COMMIT_NOTICE_SECONDS

    def _note(self, verb: str, messages: Iterable[object]) -> None:
        if self._trace is not None:
            self._trace.note(verb, messages)


def _is_founding(recovered: Recovered) -> bool:
    """Whether the only membership there ever was is the one of the founder alone."""
    if len(recovered.memberships) != 1:
        return False
    first = recovered.memberships[0]
    alone = [member.id for member in first.membership.members] == [recovered.node]
    return alone and first.index == FOUNDING_INDEX


if __name__ == "__main__":
    run("log_replicator", LogReplicator)
