"""Backups of a running server, what is made of them, and the way from SQLite to PostgreSQL."""
