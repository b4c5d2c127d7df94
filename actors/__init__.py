"""The processes of one node: each receives, asks the protocol what to do, and sends."""
