"""The device's settings: those flashed, and those set over the air."""
