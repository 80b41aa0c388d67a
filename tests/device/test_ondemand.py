"""Modules that are let go of: who uses them gets them, who imported them for himself keeps them, nothing stays."""

import gc
import sys

import check
import scratch
from check import equal, true
from tidegate.state import State

from tidegate import ondemand

GROUNDS = ("cpython", "unix", "cortex-m3")


def names():
    """Those of the list that are loaded."""
    return [name for name in ondemand._NAMES.split() if name in sys.modules]


def test_they_go_when_the_last_user_leaves():
    before = names()
    with ondemand.modules:
        from tidegate import plan, succession

        with ondemand.modules:
            from tidegate import plan as again

            true(again is plan)
        true("tidegate.plan" in sys.modules and "cose" in sys.modules)
        del plan, succession, again
    equal(names(), before)
    import tidegate

    true(not hasattr(tidegate, "succession"))


def test_what_was_imported_before_stays():
    from tidegate import failures

    with ondemand.modules:
        from tidegate import envelope

        del envelope
    true(sys.modules["tidegate.failures"] is failures)
    true("tidegate.envelope" not in sys.modules)


def test_they_go_after_an_error():
    try:
        with ondemand.modules:
            import bspatch

            raise bspatch.PatchError("over")
    except Exception as error:
        equal(str(error), "over")
    true("bspatch" not in sys.modules)


def test_every_name_is_a_module():
    """A name that is written wrong would be kept for ever."""
    for name in ondemand._NAMES.split():
        with ondemand.modules:
            try:
                __import__(name)
            except (ImportError, SyntaxError, ValueError) as error:
                true(name == "bspatch_viper", "%s: %r" % (name, error))  # for some cores only
            except MemoryError:  # it was found; here the bytecode is in RAM as well
                true(check.ground == "cortex-m3", name)
    true("tidegate.install" not in sys.modules)


def test_the_heap_is_where_it_was():
    if not hasattr(gc, "mem_alloc"):
        return
    state = State(scratch.folder())

    def visit():
        with ondemand.modules:
            from tidegate import install, keeper, staging

            staging.forget(state)
            del install, keeper

    for _ in range(3):  # names and natives that come once
        visit()
    gc.collect()
    before = gc.mem_alloc()
    for _ in range(20):
        visit()
    gc.collect()
    true(gc.mem_alloc() - before <= 256, "%d bytes more" % (gc.mem_alloc() - before))
