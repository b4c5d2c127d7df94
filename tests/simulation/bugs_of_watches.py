"""Bugs in the history of changes, and in watches that resume."""

from protocol.client.initial_entries import InitialEntries
from protocol.client.mirror import MirroredKeys
from protocol.client.refusals import Refusals
from protocol.client.routing import Route
from protocol.client.watch import Watch
from protocol.gateway.publisher import Publisher
from protocol.storage import history
from protocol.storage.history import ChangeHistory
from tests.simulation.bug import Bug, Edit

BUGS = (
    Bug(
        "a watch goes on with a new stream without what it missed",
        "the promise of watches",
        Edit(Watch.begin_stream, "max(begin, self._complete_from)", "self._complete_from"),
    ),
    Bug(
        "a watch that resumes misses the first change",
        "the promise of watches",
        Edit(
            ChangeHistory._rows_from,
            "start[0] if start[1] < WHOLE else start[0] + 1",
            "start[0] + 1 if start[1] < WHOLE else start[0] + 2",
        ),
    ),
    Bug(
        "a page repeats the change that it begins after",
        "the promise of watches",
        Edit(ChangeHistory._page, "if place <= start or", "if place < start or"),
    ),
    Bug(
        "a full page claims the change after it",
        "the promise of watches",
        Edit(history._before, "(revision, position - 1)", "(revision, position)"),
    ),
    Bug(
        "a node serves the changes that it has dropped",
        "the promise of watches",
        Edit(
            ChangeHistory.read,
            "(request.after, request.position) < (self.after, WHOLE)",
            "False",
        ),
    ),
    Bug(
        "a node has dropped the rest of the revision that a page begins within",
        "the promise of watches",
        Edit(
            ChangeHistory.read,
            "(request.after, request.position) < (self.after, WHOLE)",
            "request.after < self.after",
        ),
    ),
    Bug(
        "more history is dropped than is called so",
        "the promise of watches",
        Edit(ChangeHistory._trim, "_key(self.after + 1)", "_key(self.after + 2)"),
    ),
    Bug(
        "a snapshot leaves the history before it",
        "the promise of watches",
        Edit(ChangeHistory.__init__, "self._last_revision() == revision", "True"),
    ),
    Bug(
        "a node answers with the changes that it has, though it is behind",
        "the promise of watches",
        Edit(Watch.request, "max(self._place.revision, self._complete_from.revision)", "0"),
    ),
    Bug(
        "the changes after the last page are taken for received",
        "the promise of watches",
        Edit(ChangeHistory._page, "*_before(place), more=True", "revision, WHOLE, more=False"),
    ),
    Bug(
        "a page that ends at what it may examine claims all changes",
        "the promise of watches",
        Edit(ChangeHistory._page, "last, WHOLE, more=True", "revision, WHOLE, more=False"),
    ),
    Bug(
        "a row is passed over as its first key lacks the prefix",
        "the promise of watches",
        Edit(
            ChangeHistory._rows_from,
            "decode_events(row) if prefix in row else ()",
            "decode_events(row)\n"
            "            events = events if events[0].key.encode().startswith(prefix) else ()",
        ),
    ),
    Bug(
        "a stream begins before the changes that were fetched",
        "the promise of watches",
        Edit(Watch.take, "if (revision, position) <= self._place:", "if False:"),
    ),
    Bug(
        "every change of a transaction counts as its last",
        "the promise of watches",
        Edit(Publisher.publish, "event.revision != next_revision", "True"),
    ),
    Bug(
        "a watch ends because one node refuses repeatedly",
        "the promise of watches",
        Edit(Route.choose, "each not in shunned", "each not in ()"),
        Edit(
            Refusals.note,
            "self._refusals[self.link.endpoint] = HistoryRefusal(self.link.node, oldest)",
            "left = (self._left or [self.link.endpoint])[0]\n"
            "        self._refusals[left] = HistoryRefusal(left.encode(), oldest)",
        ),
    ),
    Bug(
        "a watch ends because a minority refuses and the others are silent",
        "the promise of watches",
        Edit(
            Refusals._is_majority_without,
            "is_majority(refused, refused + len(left))",
            "refused > 0",
        ),
    ),
    Bug(
        "the mark after the entries of a watch is a revision too far",
        "the promise of watches",
        Edit(
            Watch.begin_with,
            "self._fetched_until = Place(revision)",
            "self._fetched_until = Place(revision + 1)",
        ),
    ),
    Bug(
        "a watch goes on with its stream, though that began after the entries",
        "the promise of watches",
        Edit(
            Watch.begin_with,
            "self._fetched_until = Place(revision)",
            "self._fetched_until = max(Place(revision), self._complete_from)",
        ),
    ),
    Bug(
        "a watch repeats the changes that its entries show",
        "the promise of watches",
        Edit(
            Watch.begin_with,
            "self._fetched_until = Place(revision)",
            "self._fetched_until = self._place or Place(revision)",
        ),
    ),
    Bug(
        "a watch that reads its entries anew keeps those of before",
        "the promise of watches",
        Edit(InitialEntries.begin_anew, "self.scanned = []", "pass"),
    ),
    Bug(
        "the history returns no previous values",
        "the promise of watches",
        Edit(
            ChangeHistory._page,
            "event if full else _without_prev_value(event)",
            "_without_prev_value(event)",
        ),
    ),
    Bug(
        "a previous value is that of the change before",
        "the promise of watches",
        Edit(Publisher.publish, "prev_value=event.prev_value", "prev_value=events[0].prev_value"),
    ),
    Bug(
        "a mirror shows a part of the next revision",
        "the promise of mirrors",
        Edit(MirroredKeys.take, "if each.revision <= revision", "if True"),
    ),
    Bug(
        "a mirror keeps what was removed before its watch began anew",
        "the promise of mirrors",
        Edit(MirroredKeys._begin, "if key not in present", "if False"),
    ),
    Bug(
        "a mirror's waiter sleeps through its revision",
        "the promise of mirrors",
        Edit(MirroredKeys.take_due, "revision <= self.revision", "revision < self.revision"),
    ),
    Bug(
        "a mirror wakes those that wait for the next revision",
        "the promise of mirrors",
        Edit(MirroredKeys.take_due, "revision <= self.revision", "revision <= self.revision + 1"),
    ),
)
