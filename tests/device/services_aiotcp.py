"""What test_aiotcp.py meets: a TCP server."""

from peers import nasty_mqtt as serve  # noqa: F401
