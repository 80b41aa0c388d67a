"""What a run counts: percentiles within their promise, sums over processes, differences between phases."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time

import pytest

from tidegate.errors import TidegateError
from tidegate.simulate import usage
from tidegate.simulate.figures import Figures, Times, total


def test_percentiles_are_right_within_three_percent() -> None:
    dice = random.Random(1)
    durations = sorted(dice.lognormvariate(-4, 1.5) for _ in range(20_000))
    times = Times()
    for one in durations:
        times.add(one)
    for fraction in (0.5, 0.9, 0.99):
        right = durations[int(fraction * len(durations)) - 1]
        assert abs(times.at(fraction) - right) < 0.03 * right
    assert times.at(1.0) == durations[-1] == times.most
    assert Times().at(0.5) is None and Times().summary() == {"count": 0}


def test_figures_of_processes_add_up_and_phases_subtract() -> None:
    one, other = Figures(), Figures()
    for figures, count in ((one, 3), (other, 5)):
        figures.counts["telemetry sent"] += count
        figures.gauges["online"] = count
        figures.errors["connect: refused"] += 1
        for _ in range(count):
            figures.took("connected", 0.01 * count)
    both = total([one.plain(), other.plain()])
    assert both.counts["telemetry sent"] == 8 and both.gauges["online"] == 8 and both.errors.total() == 2
    assert both.times["connected"].count == 8 and both.times["connected"].most == 0.05
    one.counts["telemetry sent"] += 2
    one.took("connected", 1.0)
    later = total([one.plain(), other.plain()]).since(both)
    assert later.counts["telemetry sent"] == 2 and later.errors.total() == 0 and later.gauges["online"] == 8
    assert later.times["connected"].count == 1 and 0.97 < later.times["connected"].at(0.5) <= 1.0


def test_cpu_and_memory_of_a_process_and_its_children() -> None:
    busy = "import time\nend = time.monotonic() + 60\nwhile time.monotonic() < end: pass"
    script = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {busy!r}])"
    process = subprocess.Popen([sys.executable, "-c", script], start_new_session=True)
    try:
        name, pid = usage.parse(f"busy={process.pid}")
        assert (name, pid) == ("busy", process.pid) and usage.parse(str(os.getpid()))[1] == os.getpid()
        end = time.monotonic() + 60
        while (found := usage.of(process.pid)) is None or found.cpu_s < 0.5:  # its child's
            assert time.monotonic() < end
            time.sleep(0.05)
        assert found.rss_mib > 5
    finally:
        os.killpg(process.pid, 9)
        process.wait()
    assert usage.of(process.pid) is None
    for wrong in ("", "server", "server=", "0", f"server={process.pid}", "-1", "1.5"):
        with pytest.raises(TidegateError):
            usage.parse(wrong)
