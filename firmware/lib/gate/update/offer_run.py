"""One offer, of an image or of a data component, from its verification to its end: what both have
in common.
"""

import gc

from gate import console, ondemand
from gate.clock import const
from gate.reporting import alarms, reports
from gate.update import Superseded, failures, retry
from gate.update.failures import Failure

# Until an offer that found no memory to be verified is tried again: four times that the next time,
# and so on.
_UNVERIFIED_S = const(60)
_UNVERIFIED_MOST_S = const(86400)
# What only one step needs is let go of after it: the memory of the next one may be just that.
_FETCHING = "gate.update.download http_client"


class OfferRun:
    """One offer. A subclass has decide(manifest, data), which returns a plan, or None for an offer
    that brings nothing new, and raises Failure; may_begin(plan), which calls know() and returns
    False if again_s has to pass first; and the coroutine function apply(plan, data), which
    fetches the payload and puts it to use, and raises Failure, OSError or MemoryError.
    """

    component = None  # name of the data component; None: the image
    record = retry.FILE  # name of the file of what gate.update.retry knows

    def __init__(self, device, files, reporter, alarms, wait, beat):
        """device: gate.device.Device; files: SmallFiles of the folder to stage the payload in;
        wait(seconds, beat): sleeps, and raises Superseded if a newer offer arrived.
        """
        self._device = device
        self._files = files
        self._reporter = reporter
        self._alarms = alarms
        self._wait = wait
        self._beat = beat
        self._manifest = None  # the suit_envelope.Manifest, once it is verified
        self._accepted = False
        self.known = None  # what gate.update.retry knows of the image, once that is known
        self.again_s = 0  # after the run: seconds until the same offer is to be tried again
        self.lacked_memory = False
        self.cramped = 0  # attempts before this one, in a row, that lacked memory

    async def run(self, data, verified, last=True):
        """Carries the offer `data` (bytes of an envelope) to its end, or to a pause (again_s).
        Returns False if it was refused, or brings nothing new.

        verified: gate.update.verified.outcome of it;
        last: whether a lack of memory is reported; else raises MemoryError, for another attempt.
        """
        try:
            plan = self._decide(data, verified)
            if plan and self.may_begin(plan):
                self._accepted = True
                await self.apply(plan, data)
            elif self.again_s:
                self.keep(data)
            else:
                self.discard()
        except Failure as failure:
            self.fail(failure)
        except MemoryError as error:
            if not last:
                raise
            self.lacked_memory = True
            self.fail(Failure(failures.MEMORY, "out of memory: %s" % error))
        except OSError as error:
            self.fail(Failure(failures.STORAGE, "%r" % error))
        except Superseded:
            raise
        except Exception as error:
            # Nobody foresaw it. It is set aside as any other failure, or it would end the task,
            # and after the next start again.
            self.fail(Failure(failures.STORAGE, "%s: %s" % (type(error).__name__, error)))
        return self._accepted

    def discard(self):
        """Removes what was stored of an offer that ends here."""

    def keep(self, data):
        """Stores an offer that has to wait before it is accepted."""

    def fail(self, failure):
        """Reports that it is refused, before anything was changed, or has failed after that."""
        what = "data " + self.component if self.component else "update"
        if self.again_s:
            console.error("%s: %s; again in %d s", what, failure.detail, self.again_s)
            if self._told:
                self.report(reports.FAILED, failure=failure, again=self.again_s)
            return
        if self._accepted:
            console.error("%s failed: %s: %s", what, failure.word, failure.detail)
            self.report(reports.FAILED, failure=failure)
            return
        console.info("%s refused: %s: %s", what, failure.word, failure.detail)
        self.report(reports.REFUSED, failure=failure)
        self._alarms.raise_(alarms.OFFER_REFUSED, failure.word, failure.detail)

    def report(self, phase, **more):
        """Reports about the manifest; with sequence number 0 if it could not be verified."""
        manifest = self._manifest
        sequence, digest = (manifest.sequence, manifest.digest) if manifest else (0, None)
        self._reporter.report(phase, sequence, digest, component=self.component, **more)

    async def fetch(self, digest, size, progress):
        """Returns the path of the staged payload. Waits while the network is down; raises
        Failure, or Superseded if a newer offer arrives meanwhile. progress(done): bytes so far.
        """
        gc.collect()  # the verifier's garbage, before anything lasting lies above it
        if not retry.is_repeated(self.known):
            self.report(reports.FETCHING)
        from gate.update import download

        staging = download.Staging(self._files, self._device)
        path = await download.persist(staging, digest, size, progress, self._pause)
        ondemand.modules.drop(_FETCHING)
        return path

    def know(self, digest):
        """Finds out what is known of the image or content with this digest."""
        if not self.known or self.known[retry.DIGEST] != digest:
            self.known = retry.load(self._files, self.record, digest)

    def set_aside(self, failure):
        """Sets again_s if the failure may pass, and whether it is worth a report. Returns again_s,
        0 for one that no time mends, or before it is clear what was offered: but for a lack of
        memory, which says nothing of the offer.
        """
        if self.known:
            self.again_s, self._told = retry.failed(
                self._files,
                self.record,
                self.known,
                failure.code,
                self._device.random,
                failure.asked_s,
            )
        elif failure.code == failures.MEMORY:
            self._told = not self.cramped
            self.again_s = retry.growing(_UNVERIFIED_S, 2 * self.cramped, _UNVERIFIED_MOST_S)
        return self.again_s

    async def _pause(self, seconds):
        await self._wait(seconds, self._beat)

    def _decide(self, data, verified):
        try:
            if isinstance(verified, Exception):
                raise verified
            self._manifest = verified
            return self.decide(self._manifest, data)
        except (Failure, MemoryError, OSError):
            raise
        except Exception as error:
            # A retained offer comes again after each reset: whatever is wrong, it is refused.
            raise Failure(failures.MALFORMED, "%s: %s" % (type(error).__name__, error))
