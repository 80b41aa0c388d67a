"""The end of an update: confirms a trial that proved itself, reports how the last one ended."""

from gate import LinkError, console
from gate.clock import const, ticks_diff, ticks_ms
from gate.reporting import alarms, crash, reports
from gate.update import ASKED, accepted, failures, retry, staged

_OLD_LOADER = "; the loader is too old to tell that from a bad image and bans it: flash it again"
_SICK = const(4)  # unhealthy for one of so many parts of the trial, with a broker: a bad image


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
            self._state.remove(retry.FILE)
            self._state.remove(ASKED)
            self._reporter.report(reports.CONFIRMED, outcome.sequence, digest)
        else:
            last = crash.Crash(self._state)
            # Without a trace there is what the board noted of its last attempt.
            detail = last.line if last.sequence == outcome.sequence else ""
            trace = last.text if last.sequence in (None, outcome.sequence) else None
            again_s = 0
            if not self._boot.is_bad(outcome.digest):
                again_s = retry.trial_ended(self._state, retry.FILE, outcome.digest)
            elif not hasattr(self._boot, "AWAY") and "broker" in detail:
                detail += _OLD_LOADER
            failure = failures.trial_failure(outcome.reason, detail)
            self._reporter.report(
                reports.ROLLED_BACK, outcome.sequence, digest, failure=failure, again=again_s
            )
            self._alarms.raise_(alarms.ROLLED_BACK, outcome.reason, failure.detail, None, trace)
        self._outbox.save()  # until now only the record knows how it ended
        crash.forget(self._state)
        accepted.forget(self._state)
        staged.forget(self._state)
        try:
            self._boot.clear_outcome()
        except OSError as error:  # worn flash: it is reported once more after the next start
            console.error("the end of the update could not be noted: %s", error)
        return outcome.digest

    async def prove(self, link, health, timeout_s, beat):
        """Confirms the trial after a round trip to the broker and the application's own check;
        else ends the attempt.

        health() -> bool. When time is up it resets the board and does not return. Whether the
        image is bad or the world was away then depends on what was there: an image that was
        unhealthy while the broker answered is bad; without a broker nobody knows.
        """
        sequence = self._boot.running.sequence
        self._reporter.report(reports.TRIAL, sequence, self._manifest_digest(sequence))
        why = "no connection to the broker"
        began = ticks_ms()
        sick_ms = 0
        while ticks_diff(ticks_ms(), began) < timeout_s * 1000:
            round_began = ticks_ms()
            await beat.sleep(1)
            if not link.announced:
                continue
            try:
                await link.round_trip()
            except LinkError as error:
                why = "the broker does not answer: %s" % error
                continue
            if health():
                self._boot.confirm()
                console.info("sequence %d confirmed", sequence)
                return
            sick_ms += ticks_diff(ticks_ms(), round_began)
        reason = failures.trial_number("timeout")
        if sick_ms * _SICK < timeout_s * 1000:
            reason = getattr(self._boot, "AWAY", reason)
            if sick_ms:
                why = "no lasting connection to the broker"
        else:
            why = "the application is not healthy"
        why = "%s within %d s" % (why, timeout_s)
        console.error("trial: %s", why)
        crash.note(self._state, sequence, why)
        self._boot.fail_attempt(reason)
        self._boot.reset()

    def _manifest_digest(self, sequence):
        """The digest of the manifest with this sequence number, if it was accepted last."""
        digest, accepted_sequence = accepted.load(self._state)
        return digest if accepted_sequence == sequence else None
