"""Webhooks: where messages may go, how they are signed, one try of sending, and the thread that does it."""
