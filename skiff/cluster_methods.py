"""ClusterMethods: the operations of a blocking client on members and leadership."""

import uuid

from skiff import admin
from skiff.arguments import CLIENT_DEFAULT, Timeout
from skiff.method import Runner
from skiff.records import Member, NodeStatus


class ClusterMethods(Runner):
    """Operations on the cluster; see ``Client``."""

    def members(self, *, timeout: Timeout = CLIENT_DEFAULT) -> list[Member]:
        """Return the members of the cluster by the last committed membership that the node knows.

        Raises:
            RequestTimeout: no node answered before the deadline.
        """
        return list(self.status(timeout=timeout).members)

    def add_member(self, address: str, *, timeout: Timeout = CLIENT_DEFAULT) -> None:
        """Add a node that was started on standby; return when it is a voter.

        Raises:
            InvalidAddress: the address does not parse as ``host`` or ``host:port``.
            PeerConnectFailed: no standby node was found at the address before the deadline.
            OutcomeUnknown: the node was not a voter at the deadline; it may yet become one.
            RequestTimeout: the deadline passed; nothing was changed.
        """
        self._run(admin.add_member(address), timeout)

    def remove_node(
        self, node: uuid.UUID | str, *, force: bool = False, timeout: Timeout = CLIENT_DEFAULT
    ) -> uuid.UUID:
        """Remove a node from the cluster; return its id when the removal is committed.

        ``node`` is an id, a prefix of an id of at least four digits, or an address. Anything but
        a full id takes a request of its own, to read the members.

        Raises:
            PeerNotFound: no member has this id or address.
            InvalidRequest: the node is the last voter, several ids have this prefix, or ``node`` is
                neither an id nor an address.
            UnsafeMembershipChange: the voters that answer would not be a majority of the remaining
                ones; ``force`` overrides this, and may leave a cluster that accepts no writes.
            OutcomeUnknown: the deadline passed; the node may have been removed, or may yet be.
            RequestTimeout: the deadline passed; nothing was changed.
        """
        return self._run(admin.remove_node(node, force=force), timeout)

    def transfer_leadership(
        self, to: uuid.UUID | str | None = None, *, timeout: Timeout = CLIENT_DEFAULT
    ) -> uuid.UUID:
        """Transfer leadership to a voter, or to any other; return the leader's id afterwards.

        No write is lost; writes pause for a few round trips. ``to`` is an id, a prefix of an id of
        at least four digits, or an address; None lets the leader choose. Anything but a full id
        takes a request of its own, to read the members.

        Raises:
            PeerNotFound: no member has this id or address.
            InvalidRequest: the node is a learner, there is no other voter, several ids have this
                prefix, or ``to`` is neither an id nor an address.
            OutcomeUnknown: leadership had not moved at the deadline; it may yet move.
            RequestTimeout: the deadline passed; nothing was changed.
        """
        return self._run(admin.transfer_leadership(to), timeout)

    def status(self, *, timeout: Timeout = CLIENT_DEFAULT) -> NodeStatus:
        """Return the role, term, log and members of the node that answers, as it reports them.

        Raises:
            RequestTimeout: no node answered before the deadline.
        """
        return self._run(admin.status(), timeout)
