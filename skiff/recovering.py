"""Recovering from the loss of a majority: the best of what is left becomes a new cluster."""

import uuid
from collections.abc import Sequence
from os import PathLike
from typing import TYPE_CHECKING

import msgspec

from actors.failure import ActorFailure
from protocol.membership import is_majority
from skiff import errors
from skiff.errors import StorageError
from skiff.records import Member

if TYPE_CHECKING:
    from protocol.storage.recovering import Holding


class Survivor(msgspec.Struct, frozen=True):
    """What the directory of one node holds.

    ``last_term`` and ``last_index`` are of the end of its log; entries after ``applied_index`` may
    not be committed. ``members`` are those of the latest membership in its log.
    """

    dir: str
    id: uuid.UUID
    cluster_id: uuid.UUID
    last_term: int
    last_index: int
    applied_index: int
    revision: int
    members: tuple[Member, ...]


class Recovery(msgspec.Struct, frozen=True):
    """What is left of a cluster, and what is made of it.

    ``chosen`` holds most of the log. ``cluster_id`` is that of the new cluster; None where nothing
    was changed. ``missing`` are the voters whose directories were not given.
    """

    survivors: tuple[Survivor, ...]
    chosen: Survivor
    cluster_id: uuid.UUID | None
    missing: tuple[Member, ...]

    @property
    def is_complete(self) -> bool:
        """Whether nothing that was acknowledged can be lost: a majority of voters is given."""
        voters = sum(member.voter for member in self.chosen.members)
        return is_majority(voters - len(self.missing), voters)

    @property
    def is_alone(self) -> bool:
        """Whether the chosen node needs nobody else, and so no recovery."""
        return [each.id for each in self.chosen.members if each.voter] == [self.chosen.id]


def recover(
    directories: str | PathLike[str] | Sequence[str | PathLike[str]], *, dry_run: bool = False
) -> Recovery:
    """Make the best of some nodes' directories that of the first node of a new cluster.

    For a cluster whose majority is lost for good: name the directories of all nodes that are left,
    on this machine or copied to it. What the one with the longest log holds is kept, and counts as
    committed from then on; what only lost nodes held is lost. Start a node in it, and let others
    join that one, in new directories. With ``dry_run``, nothing is changed.

    Raises:
        StorageError: a directory is in use, damaged, of no node or of another cluster; none was
            changed.
    """
    from actors import recovering  # noqa: PLC0415 - brings RocksDB, which no client needs

    if isinstance(directories, str | PathLike):
        directories = [directories]
    try:
        found = recovering.recover_best([str(each) for each in directories], dry_run=dry_run)
    except ActorFailure as failure:
        raise getattr(errors, failure.error, StorageError)(str(failure)) from None
    survivors = {path: _survivor(path, each) for path, each in found.holdings.items()}
    chosen, given = survivors[found.best], {each.id for each in survivors.values()}
    missing = tuple(each for each in chosen.members if each.voter and each.id not in given)
    return Recovery(tuple(survivors.values()), chosen, found.cluster, missing)


def _survivor(path: str, holding: "Holding") -> Survivor:
    return Survivor(
        path,
        uuid.UUID(bytes=holding.node),
        uuid.UUID(bytes=holding.cluster),
        holding.last_term,
        holding.last_index,
        holding.applied_index,
        holding.revision,
        tuple(
            Member(uuid.UUID(bytes=each.id), each.address, each.voter)
            for each in holding.membership.members
        ),
    )
