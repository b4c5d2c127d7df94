"""Client gateway core: batches requests, retries them, answers clients and publishes changes."""
