"""Client of the server's HTTP API. `server` loads httpx, which takes longer than many a command that needs none."""
