"""Limits of one change: how much a log entry, and a result that sessions keep, may carry."""

BATCH_BYTES_MAX = 1 << 20  # of the values in a batch; a single one may exceed it
BATCH_OPERATIONS_MAX = 1000  # also the checks and operations of one transaction
TRANSACTION_BYTES_MAX = 4 << 20  # of the values in a transaction
REMOVED_MAX = 10_000  # keys that one change may remove by prefixes
PREV_BYTES_MAX = 4 << 20  # of the previous values that the events of one entry keep
READ_BYTES_MAX = 64 << 10  # of the values that one transaction reads: its session keeps them
