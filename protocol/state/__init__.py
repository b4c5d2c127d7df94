"""The replicated state: commands, and the state machine that applies them on every node.

commands      what log entries carry, with the results and events
levels        the commands that a build can apply
limits        how much one change may carry
batches       the batches of commands that a leader accepts
machine       applies entries in order
key_value     keys with their revisions
key_leases    leases, with the keys that go with them
numbers       addition to a stored integer
transactions  several operations as one change
sessions      results kept to answer retries
user_table    users and roles, changed by user_commands
rights        decides by them; needed_rights knows what commands need
tables        interfaces of the tables that hold the state
"""
