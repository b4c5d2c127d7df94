"""The client's rules: routing, retries, sessions and the census, without sockets and clocks.

A driver performs what ``calls`` yields and sends back what came of it. There are three: the
blocking client in ``skiff``, with a REQ socket for each thread; the asyncio client, with a DEALER
socket for each node; and the simulator's client.

    calls      retries, sessions and failover, as generators
    attempts   what the attempts of one call have shown so far
    link       the node that is spoken to, and when it was greeted
    routing    the endpoints that are known, and which of them to choose
    session    sequences that make a write recognisable
    census     which cluster the given addresses belong to
"""
