"""Coordination: the procedures of locks and their kin, without sockets, clocks or randomness.

A recipe is a convention about keys among clients; the nodes know nothing of it. Its procedures are
generators of steps, which the blocking client, the asyncio client and the simulator drive.

    procedure   the steps, and their results
    line        contenders in order of arrival: locks, read/write locks, semaphores, elections
    election    the first of a line of candidates leads
    barrier     contenders that wait for a key to go, or for each other
    queue       items, each claimed by one consumer at a time

A contender creates a key of its own with a lease that its client keeps alive, so that a client that
dies leaves the line by itself. The revision that created the key is its place in the line, and its
token, as revisions only grow. A contender that cannot have its turn yet watches the key right ahead
of it: when one leaves, one other wakes (ZooKeeper's recipe for locks without a herd effect).

A holder that was stopped for longer than its lease does not know that it has lost its turn. Its
writes carry a fence, which the state machine checks: the key with this token must still be there.
"""
