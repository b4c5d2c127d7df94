"""Client core: routing, retries, sessions and the cluster census, without sockets or clocks.

A driver performs the steps that ``calls`` yields and sends back their results. There are three: the
blocking client in ``skiff``, with a REQ socket for each thread; the asyncio client, with a DEALER
socket for each node; and the simulator's client.

    calls      retries, sessions and failover, as generators
    attempts   deadlines and pauses of one call's attempts
    link       the node in use, and when it was greeted
    routing    the known endpoints, and the choice among them
    session    sequence numbers that make retried writes recognizable
    census     the cluster that the given addresses belong to
"""
