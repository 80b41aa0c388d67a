"""Signed commands: their format. Sending them through a server is `tidegate.commands.send`."""

from tidegate.commands.cwt import (
    CLOCK_SKEW,
    MAX_LIFETIME,
    MAX_SIGNATURES,
    MAX_SIZE,
    Command,
    Signed,
    check,
    decode,
    make,
    next_counter,
    signing_role,
    verify,
)

__all__ = [
    "CLOCK_SKEW",
    "MAX_LIFETIME",
    "MAX_SIGNATURES",
    "MAX_SIZE",
    "Command",
    "Signed",
    "check",
    "decode",
    "make",
    "next_counter",
    "signing_role",
    "verify",
]
