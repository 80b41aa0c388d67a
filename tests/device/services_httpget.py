"""What test_httpget.py meets: an HTTP server with Range that is as good or as nasty as its path says."""

from peers import http as serve  # noqa: F401
