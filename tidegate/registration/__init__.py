"""Registering many devices at once: the list, the file that takes their credentials, and the requests between."""
