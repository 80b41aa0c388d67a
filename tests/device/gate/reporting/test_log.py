"""The log on the device: bounded in RAM and on flash, there after a reset, and easy on the flash."""

import os

import scratch
from check import equal, true
from fake_agent import Agent, Uptime, ask
from gate import console
from gate.commands.ops import logs
from gate.files import SmallFiles
from gate.reporting.log import Log

GROUNDS = ("cpython", "unix", "cortex-m3")
ERROR, INFO, DEBUG = 0, 1, 2


def made(folder=None, uptime=None):
    folder = folder or scratch.folder()
    return Log(SmallFiles(folder), uptime or Uptime()), folder


def held(folder):
    return sum(os.stat(folder + "/" + name)[6] for name in os.listdir(folder))


def tail(agent, n=200, level="debug"):
    return ask(agent, logs.tail, n=n, level=level)[1].split("\n")[:-1]


def test_an_error_is_on_flash_at_once_with_what_came_before():
    log, folder = made()
    log.add(INFO, "first")
    equal(held(folder), 0)
    log.add(ERROR, "then")
    with open(folder + "/new", "rb") as file:
        equal(file.read(), b"0 I first\n0 E then\n")
    equal(log.waiting(), b"")


def test_lines_wait_at_most_so_long():
    uptime = Uptime()
    log, folder = made(uptime=uptime)
    log.add(INFO, "alone")
    uptime.now = 899
    log.poll()
    equal(held(folder), 0)
    uptime.now = 900
    log.poll()
    true(held(folder) > 0)


def test_it_is_there_after_a_reset_and_goes_on():
    agent = Agent()
    agent.log.add(INFO, "before")
    agent.log.save()
    agent.log = Log(agent.log.files, agent.uptime)
    agent.log.add(INFO, "after")
    equal(tail(agent), ["0 I before", "0 I after"])


def test_it_is_bounded_on_flash():
    uptime = Uptime()
    log, folder = made(uptime=uptime)
    for number in range(600):
        uptime.now += 3600
        log.add(ERROR, "line %d %s" % (number, "x" * 80))
        true(held(folder) <= 8192, "%d bytes" % held(folder))
    true(held(folder) > 4096)
    with open(folder + "/new", "rb") as file:
        true(b"line 599" in file.read())


def test_wear_is_bounded_whatever_is_logged():
    uptime = Uptime()
    log, folder = made(uptime=uptime)
    for second in range(3600):
        uptime.now = second
        log.add(ERROR, "broken again")
        log.add(DEBUG, "and chatty")
        log.poll()
    true(12 <= log.writes <= 12 + 6, "%d writes in an hour" % log.writes)
    true(log.lost > 0)
    log.save()
    with open(folder + "/new", "rb") as file:
        true(b"3599 E broken again" in file.read(), "the newest lines are kept")


def test_a_line_is_one_line_and_short():
    agent = Agent()
    agent.log.add(INFO, "one\ntwo " + "y" * 1000)
    lines = tail(agent)
    equal(len(lines), 1)
    true(lines[0].startswith("0 I one two yyy") and len(lines[0]) <= 160, lines[0])


def test_a_character_cut_in_two_is_no_trouble():
    agent = Agent()
    agent.log.add(INFO, "y" * 155 + "\u00e4\u00e4\u00e4")
    agent.log.save()
    equal(len(tail(agent)), 1)


def test_tail_takes_the_last_and_the_graver():
    agent = Agent()
    for number in range(30):
        agent.log.add((ERROR, INFO, DEBUG)[number % 3], "n%d" % number)
    equal(tail(agent, 2), ["0 I n28", "0 D n29"])
    equal(tail(agent, 2, "error"), ["0 E n24", "0 E n27"])
    equal(len(tail(agent, 200, "info")), 20)


def test_a_file_that_is_no_log_is_shown_as_far_as_it_goes():
    agent = Agent()
    scratch.write(agent.log.files.path("old"), bytes(range(256)) + b"\n5 I good\n\xff\xff E x")
    true("5 I good" in tail(agent))


def test_the_console_feeds_it():
    agent = Agent()
    before = console.level
    console.set_listener(agent.log.add)
    try:
        equal(ask(agent, logs.level, level="info")[0], {"level": "info"})
        console.info("%s has %d", "it", 3)
        console.debug("not this")
        equal(ask(agent, logs.level, level="")[0], {"level": "info"})
    finally:
        console.set_listener(None)
        console.set_level(before)
    equal(tail(agent), ["0 I it has 3"])


def test_a_file_system_that_fails_costs_lines_only():
    agent = Agent()
    agent.log.files.folder += "/nowhere"
    for number in range(100):
        agent.log.add(ERROR, "n%d" % number)
    true(agent.log.lost > 30)
    equal(tail(agent, 1), ["0 E n99"])
