"""Inbox of the election timer: messages from the log replicator of its node."""

import msgspec


class ClockState(msgspec.Struct, frozen=True, array_like=True, tag=60):
    """The facts about this node by which the timer sets its deadlines."""

    leading: bool  # whether this node leads
    votes: bool  # else a learner or a removed member, which must not campaign
    contact_count: int  # count of contacts with a leader


TimerMessage = ClockState
