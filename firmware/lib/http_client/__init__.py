"""A small HTTP client: `http_client.get` streams a body, `http_client.post` sends one."""

__version__ = "0.2.0"
