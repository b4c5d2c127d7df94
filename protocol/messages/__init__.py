"""Messages between processes, one module for each inbox.

A frame between actors of one node is a list of messages, processed in order. None is lost: the
actors of a node start and end together.
"""
