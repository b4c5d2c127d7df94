"""Change feed: asks storage for changes while there are subscribers, for the publisher.

Storage sends changes while any subscriber watches, and confirms each subscription in their order.
"""

from protocol.gateway.publisher import Publisher
from protocol.gateway.subscriptions import Subscriptions
from protocol.messages.gateway import (
    Changes,
    ChangesLost,
    Following,
    GatewayMessage,
    Leadership,
    RightsUpdate,
)
from protocol.messages.storage import FollowChanges, IgnoreChanges
from protocol.state.rights import Rights


class ChangeFeed:
    """The subscriptions and the publisher of one node. Times are seconds of a steady clock."""

    def __init__(self) -> None:
        self.publisher = Publisher()
        self.subscriptions = Subscriptions()
        self._followed = False
        self._removed = False
        self._denied: list[int] = []

    def step(self, message: GatewayMessage, now: float) -> None:
        """Take any message of the node's other actors; the rest concerns requests alone."""
        match message:
            case Changes(events=events):
                prev_values = self.subscriptions.wants_prev_values
                self.publisher.publish(events, now, prev_values=prev_values)
            case ChangesLost(revision=revision):
                self.publisher.lose(revision, now)
            case Following():
                self.publisher.establish(message, now)
            case RightsUpdate(users=users, roles=roles):
                self._denied += self.subscriptions.learn_rights(Rights(users, roles))
            case Leadership(removed=removed):
                if removed and not self._removed:
                    self.publisher.lose(0, now)  # a removed node receives no further changes
                self._removed = removed

    def take_denied(self) -> list[int]:
        """Return the connections to close before anything else is published.

        Their users have lost the right to watch what they have subscribed to.
        """
        denied, self._denied = self._denied, []
        return denied

    def follow(self, nonces: list[bytes]) -> list[FollowChanges | IgnoreChanges]:
        """Return the messages to storage, after the subscriptions with these nonces.

        A removed node confirms none, so that its subscribers go to another one.
        """
        confirmed = [] if self._removed else nonces
        wanted = self.subscriptions.has_watchers
        orders: list[FollowChanges | IgnoreChanges] = [FollowChanges(each) for each in confirmed]
        if self._followed and not wanted and not confirmed:
            orders.append(IgnoreChanges())
        self._followed = wanted or bool(confirmed)
        return orders
