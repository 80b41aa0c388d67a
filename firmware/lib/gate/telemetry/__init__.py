"""Telemetry, in the order of the data: source, window, pack, ring."""
