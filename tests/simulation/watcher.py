"""Watcher: a simulated subscriber, which checks the order and completeness of changes."""

from collections import deque
from collections.abc import Iterable
from random import Random
from typing import TYPE_CHECKING

from msgspec.structs import replace

from protocol.client.calls import Ending
from protocol.client.changes import ESTABLISH_SECONDS, ChangeStream, StreamBroken
from protocol.client.initial_entries import InitialEntries
from protocol.client.refusals import NO_HISTORY, Refusals
from protocol.client.routing import address_of
from protocol.client.watch import Need, Place, Watch
from protocol.membership import is_majority
from protocol.messages.client import (
    WHOLE,
    ChangePage,
    Compacted,
    Failed,
    FailureCode,
    ReadChanges,
)
from protocol.state.commands import Event
from protocol.wire import decode_published
from tests.harness.breach import expect
from tests.simulation.client import Client, Thread
from tests.simulation.entries_read import EntriesRead
from tests.simulation.watched_mirror import WatchedMirror

if TYPE_CHECKING:
    from tests.simulation.cluster import Cluster
    from tests.simulation.pipes import Pipes

WATCH_AGAIN_DELAY = 0.05
FETCH_SECONDS = 1.0  # for a page of missing changes
READING_SECONDS = 0.3  # at most, until a slow watcher has read a page
SLOW_READINGS = 0.5  # share of the pages
DROPPED_SECONDS, LOOK_SECONDS = 3.0, 0.005
RESUMPTIONS = 0.3  # share of lost streams after which another process goes on
STORED_AGO_MAX = 30  # revisions that it goes back
BEGINNINGS = 0.1  # share of them after which another one begins anew
FORWARDED = 0.3  # share of the watchers whose addresses are others than the members know
FORWARDED_PORT = 1  # of each node
INITIAL = 0.6  # share of the watches that begin with the entries that are there
NOTHING = Place(-1)  # before the first subscription


class Watcher:
    """Subscribes to one node after another, and compares the changes with the committed log."""

    def __init__(
        self, cluster: "Cluster", name: str, prefix: str, *, prev_value: bool = False
    ) -> None:
        self.name = name
        self._prev_value = prev_value  # whether it asks for the values before the changes
        self._heard = NOTHING  # up to which nothing was missed
        self._cluster = cluster
        self._setting = cluster.setting
        self._prefix = prefix
        self._client = Client(cluster, name, cluster.history, _addresses(cluster, name))
        self._thread = Thread(self._client, name)  # asks for missing changes
        self._watch = self._watch_after(None)
        # Received so far of the entries that it begins with; None without, and after the mark.
        self._entries: list[Event] | None = None
        self._awaits_entries = False
        self._mirror: WatchedMirror | None = None  # of a watch that began with entries
        self._stream = ChangeStream(b"", b"", 0.0)
        self._nonces = 0
        self._pipes: Pipes | None = None
        self._published = NOTHING  # last place of the stream
        self._messages: deque[tuple[bytes, bytes]] = deque()
        self._is_fetching = self._is_calm = False
        self._refusals = Refusals(self._client.route)
        self._refused_by: set[str] = set()  # endpoints, since the last page
        self._begin_anew()

    def watch(self) -> None:
        """Subscribe to a serving node."""
        node = self._setting.chance.choice(list(self._cluster.nodes.values()))
        if node.door is None or not node.door.is_open:
            self._setting.events.after(WATCH_AGAIN_DELAY, self.watch)
            return
        self._nonces += 1
        nonce, events = f"{self.name} {self._nonces}".encode(), self._setting.events
        prefix, full = self._prefix.encode(), self._prev_value
        self._stream = ChangeStream(prefix, nonce, events.now, prev_value=full)
        self._messages.clear()
        self._pipes = node.door.pipes
        self._pipes.subscribe(self, self._stream.topics)
        events.after(ESTABLISH_SECONDS, self._give_up, self._stream)

    def calm(self) -> None:
        """Read fast from now on, from streams that last."""
        self._is_calm = True

    @property
    def revision(self) -> int:
        """The revision up to which all changes were received."""
        return self._watch.revision

    @property
    def pipes(self) -> "Pipes | None":
        """The pipes that it is connected to."""
        return self._pipes

    @property
    def refused_by(self) -> set[str]:
        """The names of the nodes that have refused it since the last page of changes."""
        return self._nodes_at(self._refused_by)

    @property
    def awaits_a_majority(self) -> bool:
        """Whether fewer than a majority of the known nodes have refused it."""
        known = self.refused_by | self._nodes_at(self._client.route.nodes)
        return not is_majority(len(self.refused_by), len(known))

    def wants(self, topic: bytes) -> bool:
        """Return whether it has subscribed to this topic."""
        return topic.startswith(self._stream.topics)

    def is_sent(self, topic: bytes, body: bytes) -> None:
        """Note nothing: what is sent is judged when it is heard."""

    def hear(self, pipes: "Pipes", topic: bytes, body: bytes) -> None:
        """Receive a published message."""
        if pipes is not self._pipes:
            return
        if self._watch.stream is self._stream:
            self._judge_stream(topic, body)
            self._messages.append((topic, body))
            self._go_on()
        else:
            self._hear_confirmation(topic, body)

    def _hear_confirmation(self, topic: bytes, body: bytes) -> None:
        try:
            self._stream.take((topic, body), self._setting.events.now)
        except StreamBroken:
            self._break_off()
            return
        if self._stream.is_established:
            self._published = Place(self._stream.revision)
            self._watch.begin_stream(self._stream)
            self._plan_end()
            self._check_missed()
            if self._entries is not None and not self._awaits_entries:
                self._read_entries()
            self._go_on()

    def _go_on(self) -> None:
        """Take what has arrived, as far as the watch needs it."""
        while not self._awaits_entries:
            change = self._watch.next_fetched()
            if change is None:
                if self._watch.need is Need.CHANGES and not self._is_fetching:
                    self._fetch_soon()
                if self._watch.need is not Need.MESSAGES or not self._messages:
                    return
                try:
                    message = self._messages.popleft()
                    change = self._watch.take(message, self._setting.events.now)
                except StreamBroken:
                    self._break_off()
                    return
            if change is not None:
                self._hear_change(change)
            self._check_missed()
            if self._mirror is not None:
                self._mirror.take(change, self._watch.revision)

    # --- streams

    def _plan_end(self) -> None:
        """Let the connection of an established stream end after a while, in some runs."""
        stream, events = self._stream, self._setting.events

        def end() -> None:
            if stream is self._stream and not self._is_calm:
                self._break_off()

        if self._setting.options.stream_ends:
            chance = self._setting.chance
            events.after(chance.expovariate(self._setting.options.stream_ends), end)

    def _give_up(self, stream: ChangeStream) -> None:
        """Try another node if the subscription was not confirmed in time."""
        if stream is self._stream and not stream.is_established:
            self._break_off()

    def _break_off(self) -> None:
        """Leave the node."""
        if self._pipes is not None:
            self._pipes.leave(self)
            self.lost(self._pipes)

    def lost(self, pipes: "Pipes") -> None:
        """Subscribe again: the connection is lost, or changes may be missing."""
        if pipes is not self._pipes:
            return
        self._pipes = None
        self._watch.end_stream()
        self._setting.totals.streams_closed += 1
        drawn = self._setting.chance.random()
        if self._watch.revision and drawn < RESUMPTIONS:
            self._resume()
        elif drawn > 1 - BEGINNINGS:
            self._begin_anew()
        self._setting.events.after(WATCH_AGAIN_DELAY, self.watch)

    def _resume(self) -> None:
        """Go on as another process, from a revision that this one stored a while ago."""
        revision = self._watch.revision
        stored = self._setting.chance.randint(max(1, revision - STORED_AGO_MAX), revision)
        self._begin(self._watch_after(stored), Place(stored))
        self._mirror = None

    def _watch_after(self, since: int | None) -> Watch:
        return Watch(self._prefix, since, prev_value=self._prev_value)

    def _begin(self, watch: Watch, heard: Place) -> None:
        self._watch, self._heard = watch, heard
        self._refusals = Refusals(self._client.route)
        self._refused_by.clear()
        self._entries, self._awaits_entries = None, False

    def _begin_anew(self) -> None:
        self._begin(self._watch_after(None), NOTHING)
        if self._setting.chance.random() >= INITIAL:
            self._mirror = None
            return
        self._entries = []
        self._mirror = self._mirror or WatchedMirror(self._setting, self._prefix)
        self._mirror.begin_anew()

    def _read_entries(self) -> None:
        """Read the entries that the watch begins with; meanwhile, its stream waits."""
        watch = self._watch
        self._awaits_entries = True

        def ended(initial: InitialEntries | None) -> None:
            if watch is not self._watch:
                return
            if initial is None:
                self._begin_anew()
                self._break_off()
                return
            self._awaits_entries = False
            watch.begin_with(initial.entries, initial.revision)
            self._go_on()

        EntriesRead(self._thread, self._prefix, ended).go_on()

    # --- missing changes

    def _fetch_soon(self) -> None:
        """Fetch the next page; a slow watcher reads the last one first, while others write.

        One that has read a part of a revision sometimes goes on once a node has dropped the rest.
        """
        self._is_fetching = True
        events, chance = self._setting.events, self._setting.chance
        is_slow = not self._is_calm and chance.random() < SLOW_READINGS
        place = self._watch._place
        if is_slow and place is not None and place.position < WHOLE:
            self._fetch_once_dropped(place.revision, events.now + DROPPED_SECONDS)
        else:
            events.after(chance.random() * READING_SECONDS if is_slow else 0.0, self._fetch)

    def _fetch_once_dropped(self, revision: int, until: float) -> None:
        events = self._setting.events
        dropped = any(each.history_after == revision for each in self._cluster.nodes.values())
        if dropped or events.now > until:
            self._fetch()
        else:
            events.after(LOOK_SECONDS, self._fetch_once_dropped, revision, until)

    def _fetch(self) -> None:
        if self._awaits_entries or self._watch.need is not Need.CHANGES:  # it has begun anew
            self._is_fetching = False
            self._go_on()
            return
        watch, request = self._watch, self._watch.request()

        def ended(ending: Ending) -> None:
            self._is_fetching = False
            if watch is self._watch:
                self._take_outcome(request, ending.outcome)
            if isinstance(ending.outcome, Failed | None):
                self._setting.events.after(WATCH_AGAIN_DELAY, self._go_on)
            else:
                self._go_on()

        self._setting.totals.pages_fetched += 1
        now = self._setting.events.now
        deadline = min(now + FETCH_SECONDS, self._refusals.deadline(now))
        self._thread.drive_loosely(request, deadline, ended, self._refusals.link)

    def _take_outcome(self, request: ReadChanges, outcome: object) -> None:
        refusals, now = self._refusals, self._setting.events.now
        match outcome:
            case ChangePage():
                refusals.clear()
                self._refused_by.clear()
                self._watch.take_page(outcome)
                return
            case Compacted(oldest=oldest):
                is_gone = (request.after, request.position) < (oldest, WHOLE)
                expect(is_gone, "changes are called compacted that are kept")
                self._refused_by.add(self._thread.heard_from)
                refusals.note(oldest, now)
            case Failed(code=FailureCode.UNSUPPORTED):
                self._refused_by.add(self._thread.heard_from)
                refusals.note(NO_HISTORY, now)
            case _:
                refusals.link.abandon(refusals.link.endpoint, now)
        verdict = refusals.verdict(now)
        if verdict == NO_HISTORY:
            refusals.clear()
            self._refused_by.clear()
        elif verdict is not None:
            self._judge_end()
            self._setting.totals.watches_compacted += 1
            self._begin_anew()
            self._break_off()

    # --- judging

    def _judge_end(self) -> None:
        """Check that a majority of the known nodes have refused, each counted once."""
        expect(not self.awaits_a_majority, "a minority's refusals end a watch")

    def _nodes_at(self, endpoints: Iterable[str]) -> set[str]:
        """Return the names of the nodes at these endpoints, present ones or former ones."""
        return {self._cluster.node_at(address_of(each)).address for each in endpoints}

    def _judge_stream(self, topic: bytes, body: bytes) -> None:
        """Check that a node publishes each change once, in order."""
        if topic.startswith(self._stream.topics[0]):
            published = decode_published(body)
            place = Place(published.revision, published.position)
            is_old = published.revision <= self._stream.revision
            expect(is_old or place > self._published, "a node published a change twice, or late")
            self._published = max(place, self._published)

    def _hear_change(self, change: Event) -> None:
        if self._entries is not None:
            self._hear_entry(self._entries, change)
            return
        place = Place(change.revision, change.position)
        known = self._setting.judge.log.model.changes
        expect(place > self._heard, "a watcher heard of a change twice, or too late")
        self._expect_none_between(place)
        right = known[place.revision - 1][place.position]
        if not self._prev_value:
            right = replace(right, prev_value=None)
        expect(change == right, "a watcher heard of a change that was not")
        self._heard = place
        self._setting.totals.watched += 1

    def _hear_entry(self, entries: list[Event], change: Event) -> None:
        """Check the entries that the watch begins with, once their mark has come."""
        if change.key:
            entries.append(change)
            return
        rows = self._setting.judge.states.rows(self._prefix, change.revision)
        known = sorted(rows.items(), key=lambda each: each[0].encode())
        right = [Event(row[1], key, row[3], 0) for key, row in known]
        expect(entries == right, f"a watch begins with other entries than at {change.revision}")
        self._entries, self._heard = None, Place(change.revision)
        self._setting.totals.initial_watches += 1

    def _check_missed(self) -> None:
        """Check that the watch has not passed over a change."""
        place = self._watch._place
        assert place is not None
        is_committed = place.revision <= self._setting.judge.log.model.revision
        expect(is_committed, "a watch passes over changes that are not yet committed")
        if self._heard == NOTHING:
            self._heard = place
        self._expect_none_between(Place(place.revision, min(place.position + 1, WHOLE)))
        self._heard = max(self._heard, place)

    def _expect_none_between(self, place: Place) -> None:
        """Check that no change between the last one received and this place was missed."""
        known = self._setting.judge.log.model.changes
        for events in known[max(0, self._heard.revision - 1) : place.revision]:
            for event in events:
                is_between = self._heard < (event.revision, event.position) < place
                expect(
                    not (is_between and event.key.startswith(self._prefix)),
                    f"a watcher missed a change of revision {event.revision}",
                )


def _addresses(cluster: "Cluster", name: str) -> list[str]:
    """Return the addresses that a watcher is given; in some runs, those of forwarded ports."""
    if Random(f"{name} {cluster.setting.options.seed}").random() >= FORWARDED:
        return list(cluster.nodes)
    return [f"{each.partition(':')[0]}:{FORWARDED_PORT}" for each in cluster.nodes]
