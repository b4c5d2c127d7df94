"""The client gateway's rules: what becomes of requests, and how changes are published."""
