"""Client core: routing, retries, sessions and the cluster census, without sockets or clocks.

A driver performs the steps that ``calls`` yields and sends back their results. There are three: the
blocking client in ``skiff``, with a REQ socket for each thread; the asyncio client, with a DEALER
socket for each node; and the simulator's client.

    steps        what a call asks of its driver, and the results
    calls        sessions and exactly-once writes, as generators of steps
    pipeline     the division of a pipeline into requests
    exchange     retries and failover of one request
    attempts     deadlines and pauses of one call's attempts
    backoff      pauses between the attempts at a transaction
    link         the node in use, and when it was greeted
    routing      the known endpoints, and the choice among them
    session      sequence numbers that make retried writes recognizable
    census       the cluster that the given addresses belong to
    multiplexer  concurrent requests that share the frames of a connection
    levels       the requests that a node of an older version cannot read
    high_water   the newest revision seen, below which no state is read
    changes      the stream of changes of one node
    watch        the order and completeness of changes over several streams
    initial_entries  the entries that a watch begins with
    pages        the pages of a scan
    refusals     the nodes that no longer have what a watch needs, and its end
    mirror       the entries under a prefix, one whole revision at a time
    held_lease   how long a client may count on a lease
    lease_keeping  when leases are kept alive, in the order of an agenda
"""
