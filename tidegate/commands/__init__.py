"""Signed commands: their format, and sending them."""
