"""Modules that are let go of: who uses them gets them, who imported them for himself keeps them, nothing stays."""

import gc
import sys

import check
import scratch
from check import equal, true
from gate import ondemand
from gate.files import SmallFiles

GROUNDS = ("cpython", "unix", "cortex-m3")


def names():
    """Those on demand that are loaded."""
    entries = ondemand._ON_DEMAND.split()
    return sorted(n for n in sys.modules if any(ondemand._covers(entry, n) for entry in entries))


def test_they_go_when_the_last_user_leaves():
    before = names()
    with ondemand.modules:
        from gate.trust import verify_rotation
        from gate.update import plan

        with ondemand.modules:
            from gate.update import plan as again

            true(again is plan)
        true("gate.update.plan" in sys.modules and "cose" in sys.modules)
        del plan, verify_rotation, again
    equal(names(), before)
    import gate.trust

    true(not hasattr(gate.trust, "verify_rotation"))


def test_what_was_imported_before_stays():
    from gate.update import failures

    with ondemand.modules:
        from gate.update import suit_envelope

        del suit_envelope
    true(sys.modules["gate.update.failures"] is failures)
    true("gate.update.suit_envelope" not in sys.modules)


def test_they_go_after_an_error():
    try:
        with ondemand.modules:
            import bspatch

            raise bspatch.PatchError("over")
    except Exception as error:
        equal(str(error), "over")
    true("bspatch" not in sys.modules)


def test_a_step_lets_go_of_what_only_it_needed():
    with ondemand.modules:
        import cose
        from gate.update import plan, suit_envelope

        del cose
        ondemand.modules.drop("cose ed25519")
        true("cose" not in sys.modules and "gate.update.plan" in sys.modules)
        with ondemand.modules:  # somebody else is at work, maybe with these
            ondemand.modules.drop("gate.update.plan")
            true("gate.update.plan" in sys.modules)
        del plan, suit_envelope


def test_every_name_covers_a_module():
    """A name that is written wrong would cover nothing, and what it meant would stay for ever."""
    for name in ondemand._ON_DEMAND.split():
        with ondemand.modules:
            try:
                __import__(name.rstrip("."))
            except ImportError as error:
                true(False, "%s: %r" % (name, error))
            except MemoryError:  # it was found; here the bytecode is in RAM as well
                true(check.ground == "cortex-m3", name)
    true("gate.update.install" not in sys.modules)


def test_a_name_covers_what_is_below_it():
    true(ondemand._covers("gate.update.", "gate.update.install"))
    true(not ondemand._covers("gate.update.", "gate.update"))
    true(ondemand._covers("coap", "coap") and ondemand._covers("coap", "coap.client"))
    true(not ondemand._covers("ed25519", "_ed25519"))
    true(not ondemand._covers("ssl", "sslx"))


def test_what_was_imported_outside_stays():
    try:
        import sha512

        with ondemand.modules, ondemand.modules:
            import cose
            import sha512 as again
        true(sys.modules["sha512"] is sha512 is again and "cose" not in sys.modules)
        del cose, again
    finally:
        with ondemand.modules:
            ondemand.modules._before = []
    true("sha512" not in sys.modules)


def test_which_modules_an_entry_covers():
    for entry, name, covered in (
        ("coap", "coap", True),
        ("coap", "coap.reader", True),
        ("coap", "coapx", False),
        ("coap", "coa", False),
        ("gate.trust.", "gate.trust.store", True),
        ("gate.trust.", "gate.trust", False),
        ("gate.trust.", "gate.trustees.store", False),
        ("gate.link.tls", "gate.link.tls", True),
        ("gate.link.tls", "gate.link.tlsx.tls", False),
    ):
        equal(ondemand._covers(entry, name), covered)


def load_something():
    with ondemand.modules:
        from gate.reporting import crash

        del crash


def test_garbage_is_collected_by_what_is_free():
    if not hasattr(gc, "threshold"):
        return
    usual, part = gc.threshold(), ondemand.modules._part
    try:
        gc.threshold(-1)
        with ondemand.modules:
            equal(gc.threshold(), -1)  # nobody has it collect early
        gc.threshold(4096)
        load_something()
        ondemand.modules.rest()
        free = gc.mem_free()
        rest = gc.threshold()
        true(4096 <= rest <= max(4096, free // 8 + 1024), "%d of %d" % (rest, free))
        with ondemand.modules:
            work = gc.threshold()
            true(work >= 4096 and abs(work - free // 4) <= 1024, "%d of %d" % (work, free))
        rest = gc.threshold()
        ondemand.modules.make_garbage(1 << 20)
        true(gc.threshold() >= (1 << 20) - 64)
        ondemand.modules.make_garbage()
        equal(gc.threshold(), rest)
        held = bytearray(free // 2)
        load_something()
        true(gc.threshold() < rest or rest == 4096)
        del held
    finally:
        ondemand.modules._part = part
        gc.threshold(usual)


def test_the_heap_is_where_it_was():
    if not hasattr(gc, "mem_alloc"):
        return
    state = SmallFiles(scratch.folder())

    def visit():
        with ondemand.modules:
            from gate.trust import storage
            from gate.update import download, install, staged

            staged.forget(state)
            del download, install, storage

    for _ in range(3):  # names and natives that come once
        visit()
    gc.collect()
    before = gc.mem_alloc()
    for _ in range(20):
        visit()
    gc.collect()
    true(gc.mem_alloc() - before <= 256, "%d bytes more" % (gc.mem_alloc() - before))
