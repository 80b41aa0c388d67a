"""The errors that this library raises: each names the thing that is wrong and the remedy."""


class TidegateError(Exception):
    """An error that a person can act on. `message` names the thing, `remedy` says what to do."""

    def __init__(self, message: str, remedy: str = ""):
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message}. {self.remedy}" if self.remedy else self.message


class Refused(TidegateError):
    """A message, payload or release that a device would refuse.

    `reason` is one word for programs. The host uses the device's words (docs/reports.md), so that a refusal
    before publishing and one in the field read alike, and has three of its own: `image` for one that is not
    what it should be, `expired` and `time` for commands, which need a clock.
    """

    def __init__(self, reason: str, message: str, remedy: str = ""):
        super().__init__(message, remedy)
        self.reason = reason
