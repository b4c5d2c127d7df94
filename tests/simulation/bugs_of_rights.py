"""Bugs in users and rights: some may do more than they are granted, some less."""

from protocol.gateway.former_keys import FormerKeys
from protocol.gateway.gateway import Gateway
from protocol.gateway.permits import Permits
from protocol.gateway.subscriptions import Subscriptions
from protocol.holdings import Holdings
from protocol.state import needed_rights
from protocol.state.machine import StateMachine
from protocol.state.rights import Rights
from protocol.state.sessions import Sessions
from protocol.state.user_table import UserTable
from protocol.storage.read_rights import ReadRights
from protocol.storage.reader import Reader
from protocol.storage.state_tables import StateView
from tests.simulation.bug import Bug, Edit

CHECKS = "rights are checked in the order of the log"

BUGS = (
    Bug(
        "writes are not checked when they are applied",
        CHECKS,
        Edit(StateMachine._apply_once, "self._denial(write) or ", ""),
    ),
    Bug(
        "a denial is not remembered, so that a retry is applied",
        CHECKS,
        Edit(
            StateMachine._apply_once,
            "remember(session, write, result)",
            "if not isinstance(result, Denied):\n            remember(session, write, result)",
        ),
    ),
    Bug(
        "the other branch of a transaction is not checked",
        CHECKS,
        Edit(needed_rights._needs, "(*command.then, *command.otherwise)", "command.then"),
    ),
    Bug(
        "the checks of a transaction are not checked",
        CHECKS,
        Edit(needed_rights._needs, "for check in command.checks", "for check in ()"),
    ),
    Bug(
        "a condition needs no right to read",
        CHECKS,
        Edit(needed_rights._needs_of, "operation.if_revision is not None", "False"),
    ),
    Bug(
        "a lease is used by any user",
        CHECKS,
        Edit(needed_rights.denial_of_lease, "row is None", "True"),
    ),
    Bug(
        "a user has the leases of a former one of its name",
        CHECKS,
        Edit(UserTable._add, "roles, last_lease", "roles"),
    ),
    Bug(
        "a user that may write less keeps its leases",
        CHECKS,
        Edit(UserTable.apply, "self._disown_leases(name, last_lease)", "pass"),
    ),
    Bug(
        "reads are not checked",
        CHECKS,
        Edit(Reader.serve, "denied := self._rights.denial(operation, user)", "denied := None"),
    ),
    Bug(
        "the later pages of a scan are not checked",
        CHECKS,
        Edit(
            ReadRights.denial,
            "return self._rights.denial_of_prefix(user, Right.READ, operation.prefix)",
            "return None if getattr(operation, 'revision', 0) else "
            "self._rights.denial_of_prefix(user, Right.READ, operation.prefix)",
        ),
    ),
    Bug(
        "a node that is behind denies what was granted",
        CHECKS,
        Edit(
            Reader.serve,
            "behind.append(place)\n                encoded = encode(denied)",
            "encoded = encode(denied)",
        ),
    ),
    Bug(
        "a right on a directory holds for its neighbours",
        CHECKS,
        Edit(
            Rights.denial,
            "self.prefixes(name, right)",
            "tuple(each.rstrip('/') for each in self.prefixes(name, right))",
        ),
    ),
    Bug(
        "a right within a prefix is taken for one on the whole of it",
        CHECKS,
        Edit(
            Rights.denial,
            "if place.startswith(self.prefixes(name, right))",
            "held = self.prefixes(name, right)\n"
            "        if place.startswith(held) or any(each.startswith(place) for each in held)",
        ),
    ),
    Bug(
        "a removed user keeps its rights",
        CHECKS,
        Edit(UserTable._remove, "self.rights.drop(user.name)", "pass"),
    ),
    Bug(
        "a revoked right holds for those who have used it",
        CHECKS,
        Edit(Rights.put_role, "self._prefixes.clear()", "pass"),
    ),
    Bug(
        "a first user is added to others",
        CHECKS,
        Edit(UserTable._add, "command.only_first and bool(users)", "False"),
    ),
    Bug(
        "the last administrator goes",
        CHECKS,
        Edit(UserTable._keep_an_administrator, "_refuse_if(is_last,", "_refuse_if(False,"),
    ),
    Bug(
        "the users of a role that has ended have a later one of its name",
        CHECKS,
        Edit(UserTable._remove_role, "if name in each.roles", "if False"),
    ),
    Bug(
        "a snapshot leaves out the users",
        CHECKS,
        Edit(StateView.rows_after, "range(first_table, len(self))", "range(first_table, 5)"),
    ),
    Bug(
        "a session serves any user that names it",
        CHECKS,
        Edit(
            Sessions.find,
            "self._held.use(user, number)",
            "next(filter(None, (self._held.use(each, number) for each in self._held._held)), None)",
        ),
    ),
    Bug(
        "a user's new sessions evict those of others",
        CHECKS,
        Edit(Holdings.find_surplus, "self._users[max(self._users)]", "self._held"),
    ),
    Bug(
        "sessions outlive the key of their user",
        CHECKS,
        Edit(StateMachine._change_users, "self._sessions.end_all(key)", "pass"),
    ),
    Bug(
        "whose session makes room depends on when a node was started",
        CHECKS,
        Edit(Sessions.__init__, "key=lambda pair: pair[1].last_used", "key=lambda pair: pair[0]"),
    ),
    Bug(
        "a client says itself who its user is",
        CHECKS,
        Edit(
            Gateway._gather,
            "operation if user == own else replace(operation, user=own)",
            "operation",
        ),
    ),
    Bug(
        "a keep-alive is not checked before the leader counts it",
        CHECKS,
        Edit(Permits.first_of, "return CheckRight(None, leases=leases)", "return operation"),
    ),
    Bug(
        "a subscription is judged only when it begins",
        CHECKS,
        Edit(Subscriptions.learn_rights, "return denied", "return []"),
    ),
    Bug(
        "a subscription is not judged when it begins",
        CHECKS,
        Edit(Subscriptions.denies, "self._denial(user, frame[1:])", "None"),
    ),
    Bug(
        "a gateway denies everything to users of whom it has not heard yet",
        CHECKS,
        Edit(
            Gateway._denial_of,
            "call.user not in self.former_keys",
            "not call.user or call.user in self.rights.keys",
        ),
    ),
    Bug(
        "a gateway denies everything to users that were added again",
        CHECKS,
        Edit(FormerKeys.learn, "(self._keys | before) - now", "self._keys | (before - now)"),
    ),
)
