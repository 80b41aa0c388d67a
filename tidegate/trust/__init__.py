"""Keys, signers, trust stores and their rotation, certificates."""
