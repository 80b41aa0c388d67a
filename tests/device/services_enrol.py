"""What test_enrol.py meets: the real server, and a liar in front of it."""

from peers_enrol import serve  # noqa: F401
