"""Releases: accepting, checking and offering them, and their payloads."""
