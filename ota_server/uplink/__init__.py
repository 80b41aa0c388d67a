"""What devices say, on its way into the store."""
