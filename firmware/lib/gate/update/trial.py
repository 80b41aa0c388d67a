"""The end of an update: confirms a trial that proved itself, reports how the last one ended."""

from gate import LinkError, console
from gate.clock import ticks_diff, ticks_ms
from gate.reporting import alarms, crash, reports
from gate.update import accepted, download, failures


class Trial:
    """Supervises the trial of this boot, if it is one, and reports the outcome of the last."""

    def __init__(self, boot, state, reporter, alarms_, outbox):
        self._boot = boot
        self._state = state
        self._reporter = reporter
        self._alarms = alarms_
        self._outbox = outbox

    def report_outcome(self):
        """Reports how the last trial ended. Returns the digest of the image it was about, or None.

        The outcome is cleared last: a reset in the middle reports it twice rather than never.
        """
        outcome = self._boot.outcome
        if outcome is None:
            return None
        digest = self._manifest_digest(outcome.sequence)
        if outcome.confirmed:
            self._reporter.report(reports.CONFIRMED, outcome.sequence, digest)
        else:
            last = crash.Crash(self._state)
            # Without a trace there is what the board noted of its last attempt.
            detail = last.line if last.sequence == outcome.sequence else ""
            trace = last.text if last.sequence in (None, outcome.sequence) else None
            failure = failures.trial_failure(outcome.reason, detail)
            self._reporter.report(reports.ROLLED_BACK, outcome.sequence, digest, failure=failure)
            self._alarms.raise_(alarms.ROLLED_BACK, outcome.reason, failure.detail, None, trace)
        self._outbox.save()  # until now only the record knows how it ended
        crash.forget(self._state)
        accepted.forget(self._state)
        download.forget(self._state)
        try:
            self._boot.clear_outcome()
        except OSError as error:  # worn flash: it is reported once more after the next start
            console.error("the end of the update could not be noted: %s", error)
        return outcome.digest

    async def prove(self, link, health, timeout_s, beat):
        """Confirms the trial after a round trip to the broker and the application's own check;
        else ends the attempt.

        health() -> bool. When time is up it resets the board and does not return.
        """
        sequence = self._boot.running.sequence
        self._reporter.report(reports.TRIAL, sequence, self._manifest_digest(sequence))
        why = "no connection to the broker"
        began = ticks_ms()
        while ticks_diff(ticks_ms(), began) < timeout_s * 1000:
            await beat.sleep(1)
            if not link.announced:
                continue
            try:
                await link.round_trip()
            except LinkError as error:
                why = "the broker does not answer: %s" % error
                continue
            why = "the application is not healthy"
            if health():
                self._boot.confirm()
                console.info("sequence %d confirmed", sequence)
                return
        why = "%s within %d s" % (why, timeout_s)
        console.error("trial: %s", why)
        crash.note(self._state, sequence, why)
        self._boot.fail_attempt(failures.trial_number("timeout"))
        self._boot.reset()

    def _manifest_digest(self, sequence):
        """The digest of the manifest with this sequence number, if it was accepted last."""
        digest, accepted_sequence = accepted.load(self._state)
        return digest if accepted_sequence == sequence else None
