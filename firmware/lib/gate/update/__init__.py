"""The way of an update: offer, decide, fetch, apply, trial."""
