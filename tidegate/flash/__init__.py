"""Flashing: a board's files and images over serial, or a gateway's folder."""
