"""Bugs in stale reads and scans, which break the guarantees of a session."""

from protocol.client.high_water import HighWaterMark
from protocol.client.pages import Pages
from protocol.gateway.reads import Reads, _is_immutable
from protocol.storage.reader import Reader
from protocol.storage.scans import Scans
from tests.simulation.bug import Bug, Edit

BUGS = (
    Bug(
        "a client reads an older state than it has seen",
        "monotonic reads",
        Edit(HighWaterMark.require, "max(operation.min_revision, self.revision)", "0"),
    ),
    Bug(
        "a client remembers the last revision, not the newest",
        "monotonic reads",
        Edit(HighWaterMark.rise_to, "max(self.revision, revision)", "revision or self.revision"),
    ),
    Bug(
        "a node serves a read although its state is behind",
        "monotonic reads",
        Edit(Reader.serve, "(least := _least(operation)) > revision", "False"),
    ),
    Bug(
        "a state counts as current from the confirmation of a read",
        "bounded staleness",
        Edit(Reads._answer_all, "pending.sent_at", "now"),
    ),
    Bug(
        "a read without confirmation shows that the state is current",
        "bounded staleness",
        Edit(Reads._answer_all, "if path is ReadPath.CONFIRMED:", "if not behind:"),
    ),
    Bug(
        "any age is young enough",
        "bounded staleness",
        Edit(Reads._is_current, "max_staleness_ms == ANY_STALENESS", "True"),
    ),
    Bug(
        "a scan goes on in a newer state",
        "the promise of scans",
        Edit(
            Scans.read,
            "view = self._views.drop(user, scan.scan)",
            "view = _View(scan.revision, self._values.view(), revision, 0.0)",
        ),
    ),
    Bug(
        "a scan that has to wait ends with what its first page has",
        "the promise of scans",
        Edit(
            Scans._begin,
            "return page if is_over or not waits else BUSY",
            "return page if not waits else replace(page, more=False)",
        ),
    ),
    Bug(
        "each page of a scan shows the state of its own time",
        "the promise of scans",
        Edit(Pages.take, "revision=page.revision", "revision=0"),
    ),
    Bug(
        "several keys are read at two revisions",
        "the promise of reads of several keys",
        Edit(
            Reader._get_many,
            "found.append(self._get(key, revision))",
            "from msgspec.structs import replace\n"
            "            before = self.__dict__.setdefault('before', {})\n"
            "            now = self._get(key, revision)\n"
            "            old = replace(before.get(key, now), revision=revision)\n"
            "            found.append(old if found else now)\n"
            "            before[key] = now",
        ),
    ),
    Bug(
        "the values of several keys are in another order",
        "the promise of reads of several keys",
        Edit(Reader._get_many, "tuple(found)", "tuple(found[::-1])"),
    ),
    Bug(
        "a first page is read without confirmation",
        "the promise of scans",
        Edit(_is_immutable, "revision > 0", "True"),
    ),
)
