"""Signed manifests: SUIT envelopes of images and data."""
