"""Signed commands: verify, execute, answer."""
