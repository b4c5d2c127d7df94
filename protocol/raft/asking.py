"""Asking: the pace of the queries by which nodes find each other."""

ASK_SECONDS = 0.2  # between two queries to an address
