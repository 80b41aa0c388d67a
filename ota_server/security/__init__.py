"""Credentials, passwords, tokens and the audit log."""
