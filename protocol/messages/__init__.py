"""Messages between processes, one module for each inbox.

A frame between actors of one node is a list of messages, handled in order. None is lost: the
actors live and die together.
"""
