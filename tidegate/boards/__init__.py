"""Boards: their descriptions, and the emulated one."""
