"""Which commands the server passes on."""
