"""The connection to the server, whichever it is."""
