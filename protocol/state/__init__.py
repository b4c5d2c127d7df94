"""The replicated state: commands, and the state machine that applies them on every node.

commands      what log entries carry, with the results and events
batches       the batches of commands that a leader accepts
machine       applies entries in order
key_value     keys with their revisions
transactions  several operations as one change
sessions      results kept to answer retries
user_table    users and roles; rights decides by them, needed_rights knows what commands need
tables        interfaces of the tables that hold the state
"""
