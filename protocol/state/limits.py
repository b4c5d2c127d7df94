"""Limits of one change: how much a log entry, and a result that sessions keep, may carry."""

BATCH_BYTES_MAX = 1 << 20  # of the values in a batch; a single one may exceed it
BATCH_OPERATIONS_MAX = 1000  # also the checks and operations of one transaction
TRANSACTION_BYTES_MAX = 4 << 20  # of the values in a transaction
REMOVED_MAX = 10_000  # keys that one change may remove by prefixes
LEASE_TTL_MS_MIN = 1000  # milliseconds
LEASE_TTL_MS_MAX = 30 * 24 * 3600 * 1000  # 30 days
LEASES_NAMED_MAX = 1000  # in one command or keep-alive
PREV_BYTES_MAX = 4 << 20  # of the previous values that the events of one entry keep
READ_BYTES_MAX = 64 << 10  # of the values that one transaction reads: its session keeps them
