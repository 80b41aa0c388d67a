"""What the phases that devices report of an update mean: it is under way on the device, or it ended badly.

The names are tidegate.wire.messages.PHASES, and "waiting", which is `applying` until the application lets it restart.
"""

BUSY = ("fetching", "applying", "waiting", "installed", "trial")
FAILED = ("rolled-back", "refused", "failed")
