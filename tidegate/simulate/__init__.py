"""A fleet of simulated boards, for load tests of one's own server: `tidegate simulate` (docs/simulate.md).

A simulated board says on the wire what a real one says, in the same order; messages, manifests, commands and proofs are
encoded and decoded by `tidegate.wire`, `tidegate.manifest` and `tidegate.commands`. It has no memory, no flash and no
MicroPython: patches are fetched and their digests checked, but not applied.
"""
