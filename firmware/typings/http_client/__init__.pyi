"""A small HTTP client: `http_client.get` streams a body, `http_client.post` sends one."""
