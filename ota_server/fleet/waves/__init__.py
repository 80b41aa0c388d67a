"""Rollouts in waves: what is to be done next is judged, carried out in one transaction, and told in one sentence."""
