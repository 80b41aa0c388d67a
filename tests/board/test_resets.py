"""Why the board starts, and that the watchdog means it."""

import re
import time

import pytest

CAUSE = "__import__('machine').reset_cause()"
POWER_ON, HARD, WATCHDOG, SOFT, FAULT = 1, 2, 3, 5, 6


def test_power_on_then_hard_then_soft(board, prompt):
    repl = prompt(board)
    assert repl.eval(CAUSE) == POWER_ON
    repl.restart()
    repl = prompt(board)
    assert repl.eval(CAUSE) == HARD
    repl.send(b"\x04")
    repl.read_until(b"raw REPL; CTRL-B to exit\r\n")
    assert repl.eval(CAUSE) == SOFT
    board.kill()
    board.start()
    assert prompt(board).eval(CAUSE) == POWER_ON


def test_the_watchdog_resets_a_hung_board(board, prompt):
    repl = prompt(board)
    repl.start("import machine\nmachine.WDT(timeout=200)\nwhile True: pass")
    repl.read_until(b"watchdog: not fed in time, resetting")
    repl.read_until(b">>> ")
    assert prompt(board).eval(CAUSE) == WATCHDOG


def test_the_watchdog_resets_a_board_with_interrupts_off(board, prompt):
    repl = prompt(board)
    repl.start("import machine\nmachine.WDT(timeout=200)\nmachine.disable_irq()\nwhile True: pass")
    repl.read_until(b"watchdog: not fed in time, resetting")
    repl.read_until(b">>> ")
    assert prompt(board).eval(CAUSE) == WATCHDOG


def test_a_fed_watchdog_does_nothing_and_a_soft_reset_does_not_stop_it(board, prompt):
    repl = prompt(board)
    repl.exec("import machine, time\nw = machine.WDT(timeout=300)\nfor _ in range(8): time.sleep_ms(100); w.feed()")
    assert repl.eval(CAUSE) == POWER_ON
    repl.send(b"\x04")
    repl.read_until(b"raw REPL; CTRL-B to exit\r\n")
    repl.start("while True: pass")
    assert b"watchdog: not fed" in repl.read_until(b"resetting", timeout=5)


def test_the_watchdog_spares_a_person_at_the_prompt(board, prompt):
    repl = prompt(board)
    repl.exec("import machine; machine.WDT(timeout=200)")
    time.sleep(0.6)
    assert repl.eval(CAUSE) == POWER_ON


def test_the_watchdog_resets_a_prompt_with_nobody_there(board, prompt):
    repl = prompt(board)
    program = "import machine\nprint('armed')\nmachine.WDT(timeout=300)\n"
    repl.exec(f"f = open('/main.py', 'w'); f.write({program!r}); f.close()")
    repl.start("import machine; machine.reset()")
    for _ in range(2):  # main.py ends, the prompt appears, and the board starts again
        assert b">>> " in repl.read_until(b"resetting", timeout=5)


def test_the_watchdog_keeps_its_time(board, prompt):
    repl = prompt(board)
    repl.start(
        "import machine, time\nmachine.WDT(timeout=1000)\nbegan = time.ticks_ms()\n"
        "while True: print(time.ticks_diff(time.ticks_ms(), began)); time.sleep_ms(5)"
    )
    said = repl.read_until(b"watchdog:")
    assert 980 <= int(re.findall(rb"\d+", said)[-1]) <= 1020, "by the board's clock"


@pytest.mark.parametrize("timeout", [0, -1, 171799])
def test_the_watchdog_refuses_timeouts_it_cannot_keep(shared, timeout):
    with pytest.raises(Exception, match="ValueError"):
        shared.exec(f"import machine; machine.WDT(timeout={timeout})")


@pytest.mark.parametrize(
    "crash",
    [
        "machine.mem32[0xF0000000]",  # no such address
        "f = machine.mem32; f[0x100] = 0; call(0x100)",  # no such instruction
    ],
)
def test_a_fault_is_reported_and_resets(board, prompt, crash):
    repl = prompt(board)
    repl.start("import machine, micropython\n@micropython.asm_thumb\ndef call(r0):\n    bx(r0)\n" + crash)
    said = repl.read_until(b"psr ")
    assert b"fault: resetting" in said
    assert b"pc " in said
    repl.read_until(b">>> ")
    assert prompt(board).eval(CAUSE) == FAULT


def test_the_stack_is_guarded(shared):
    shared.exec("def deeper(n): return deeper(n + 1)")
    with pytest.raises(Exception, match="maximum recursion depth"):
        shared.exec("deeper(0)")
    assert shared.eval("1 + 1") == 2


def test_the_heap_is_a_small_boards(shared):
    shared.exec("import gc; gc.collect()")
    assert 110_000 < shared.eval("gc.mem_free() + gc.mem_alloc()") <= 128 * 1024
    with pytest.raises(Exception, match="MemoryError"):
        shared.exec("bytearray(200_000)")
