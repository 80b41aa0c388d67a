"""An offer at which something raises that nobody foresaw ends as a failure, not the task that carries it out."""

import asyncio

from check import equal, raises
from gate.reporting import reports
from gate.update import Superseded
from gate.update.offer_run import OfferRun

GROUNDS = ("cpython", "unix", "cortex-m3")


class Reporter:
    def __init__(self):
        self.told = []

    def report(self, phase, sequence, digest, failure=None, **more):
        self.told.append((phase, failure and failure.detail))


class Alarms:
    def raise_(self, *what):
        pass


class Raising(OfferRun):
    """Is accepted, and raises this."""

    def __init__(self, error):
        self.reporter = Reporter()
        super().__init__(None, None, self.reporter, Alarms(), None, None)
        self._error = error

    def decide(self, manifest, data):
        return "a plan"

    def may_begin(self, plan):
        return True

    async def apply(self, plan, data):
        raise self._error


def test_what_nobody_foresaw_is_a_failure():
    for error in (ValueError("host and path have no space"), KeyError(5), AttributeError("x"), ZeroDivisionError()):
        run = Raising(error)
        equal(asyncio.run(run.run(b"offer", None)), True)
        equal([phase for phase, _ in run.reporter.told], [reports.FAILED])
        equal(run.reporter.told[0][1].split(":")[0], type(error).__name__)


def test_a_newer_offer_is_no_failure():
    run = Raising(Superseded())
    raises(Superseded, asyncio.run, run.run(b"offer", None))
    equal(run.reporter.told, [])
