"""Devices as a fleet: groups and enrolment."""
