"""Which public keys count, and how they are replaced."""
