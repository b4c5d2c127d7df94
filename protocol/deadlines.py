"""Deadline that never passes, in seconds of a steady clock."""

NEVER = float("inf")
