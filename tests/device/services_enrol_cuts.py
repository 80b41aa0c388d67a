"""What test_enrol_cuts.py meets: the real server, and a liar in front of it."""

from peers_enrol import serve  # noqa: F401
