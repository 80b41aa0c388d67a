"""How a board with a claim becomes a device."""
