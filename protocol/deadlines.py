"""Deadlines in seconds of a steady clock."""

NEVER = float("inf")
