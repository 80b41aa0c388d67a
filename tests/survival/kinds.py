"""The kinds of trouble, and one run of one kind: `run(seed, number)` is the same for the same two numbers.

A run: a board in a known good state is busy with one job (scenarios.py); before each of its boots trouble of one kind
is prepared; after each the judge looks. When the trouble is over the board is booted until it rests, and must have come
to the right end. Which job, which slots and when it strikes are drawn from the run's own numbers.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from faulty_board import Trouble
from judge import BLOCK, SIZE, Bricked, parse
from scenarios import AGENT, BOOTS, LEAN, scenario

AGENT_SHARE = 0.03  # of the runs, with the whole agent
SIGNED_SHARE = 0.01  # of those, with a loader that verifies signatures: a boot is a second's work there
FILE_SHARE = 0.25


@dataclass(frozen=True)
class Kind:
    """prepare(plan): before a boot that may be troubled; troubled: how many boots may be, at most. harmless: the job
    must succeed in the end all the same. torn: cuts leave what torn_flash says. help: whether a board may be beyond
    help in the end, in safe mode, because nothing whole is on it."""

    prepare: Callable[[Plan], None]
    troubled: int
    harmless: bool
    torn: bool = False
    help: bool = False


@dataclass
class Plan:
    world: object
    trouble: Trouble
    chance: random.Random
    operations: int  # of the job without trouble
    boot: int = 0
    flipped: set[str] = field(default_factory=set)

    @property
    def board(self):
        return self.world.board


_lengths: dict[tuple[str, str], tuple[int, int]] = {}


def length(name: str, kind: str) -> tuple[int, int]:
    """(flash and file operations, boots) of the scenario without trouble, which must come to its right end."""
    if (name, kind) not in _lengths:
        world = scenario(name, kind)
        judge = world.begin(Trouble(random.Random(0)))
        before = world.board.operations
        boots = 1
        while one_boot(world, judge) != "stopped":
            boots += 1
        if world.running != world.goal or judge.record().floor != world.floor:
            raise AssertionError(f"{name}, {kind}: sequence {world.running} without any trouble, not {world.goal}")
        _lengths[name, kind] = world.board.operations - before, boots
    return _lengths[name, kind]


def one_boot(world, judge) -> str:
    end = world.boot()
    if not world.launched and end == "ended":
        judge.safe_mode()
        return "safe"
    return end


# ---------------------------------------------------------------- what is prepared before a boot


def cut(plan: Plan) -> None:
    """Once, anywhere in the job."""
    if plan.boot == 0:
        plan.board.cut_at(1 + plan.chance.randrange(plan.operations))


def cuts_in_recovery(plan: Plan) -> None:
    """The first anywhere, and then one among the first operations of nearly each boot that should mend it."""
    if plan.boot == 0:
        cut(plan)
    elif plan.chance.random() < 0.8:
        plan.board.cut_at(1 + plan.chance.randrange(4))


def flips(plan: Plan) -> None:
    """Bits that age while the board is off, after a cut somewhere."""
    if plan.boot == 0:
        cut(plan)
        return
    if plan.boot == 1 or plan.chance.random() < 0.3:
        for _ in range(plan.chance.choice((1, 1, 1, 2, 3, 8))):
            flip(plan)


def flip(plan: Plan) -> None:
    board, judge, chance = plan.board, plan.world.judge, plan.chance
    where = chance.choice(("record 0", "record 1", "slot 0", "slot 1"))
    index = int(where[-1])
    if where.startswith("record"):
        if not judge.copies()[index]:
            return
        board.damage_record(index, chance.randrange(min(SIZE, len(judge.copies()[index]))), 1 << chance.randrange(8))
        # What only this copy said is lost with it: numbers may fall to what the other one says.
        other = parse(judge.copies()[1 - index])
        if other and parse(judge.copies()[index]) is None:
            judge.promised = min(judge.promised, other.floor)
            judge.confirmed = min(judge.confirmed, other.floor, other.slots[other.running].sequence)
    else:
        size = len(judge.content(index))
        if not size:
            return
        board.damage_slot(index, chance.randrange(min(size, 7000)), 1 << chance.randrange(8))
    plan.trouble.note("bits flipped")
    plan.flipped.add(where)


def misreads(plan: Plan) -> None:
    """A read that goes wrong once, in some boots."""
    if plan.chance.random() < 0.7:
        plan.trouble.misreads = {plan.trouble.reads + 1 + plan.chance.randrange(10)}


def worn(plan: Plan) -> None:
    """From some time on a block of the segment does not take what is written, or says so; of files, a few writes or all
    fail from then on."""
    if plan.boot:
        return
    if plan.world.board.slots == "rom" and plan.chance.random() < 0.8:
        blocks = len(plan.board._rom) // BLOCK
        block = plan.chance.choice((0, 1, plan.chance.randrange(2, blocks)))
        plan.trouble.worn[block] = plan.chance.choice(("error", "stuck-0", "stuck-1"))
    else:
        first = plan.board.operations + 1 + plan.chance.randrange(plan.operations)
        plan.trouble.failing = first, plan.chance.choice((1, 1, 2, 5, 1 << 30))
    if plan.chance.random() < 0.3:
        cut(plan)


def everything(plan: Plan) -> None:
    """All of the above at once, drawn anew for each boot."""
    if plan.boot == 0 or plan.chance.random() < 0.4:
        plan.board.cut_at(1 + plan.chance.randrange(plan.operations))
    if plan.chance.random() < 0.2 and plan.boot:
        flip(plan)
    if plan.chance.random() < 0.2:
        misreads(plan)
    if plan.chance.random() < 0.2:
        worn(plan)


KINDS = {
    "cut": Kind(cut, 1, harmless=True),
    "torn cut": Kind(cut, 1, harmless=True, torn=True),
    "cuts in recovery": Kind(cuts_in_recovery, 5, harmless=True, torn=True),
    "bit flips at rest": Kind(flips, 3, harmless=False, torn=True, help=True),
    "read errors": Kind(misreads, 4, harmless=False),
    "worn blocks": Kind(worn, 1, harmless=False, torn=True),
    "everything": Kind(everything, 4, harmless=False, torn=True, help=True),
}


# ---------------------------------------------------------------- one run


@dataclass
class Outcome:
    """kind; end: "done" (the job's right end), "kept" (an approved image runs, the job did not succeed), "safe mode"
    (nothing could run, and the loader said so) or "bricked"."""

    kind: str
    job: str
    end: str
    boots: int
    happened: Counter[str]
    why: str = ""


def run(seed: int, number: int, only: str | None = None) -> Outcome:
    chance = random.Random(f"{seed}/{number}")
    name = chance.choice(list(KINDS)) if only is None else only
    kind = KINDS[name]
    slots = "file" if number // 250 % 4 == 3 else "rom"  # in turns of 250: worlds with files are dear to change
    job = chance.choice(list(LEAN))
    if chance.random() < AGENT_SHARE:
        signed = chance.random() < SIGNED_SHARE
        job = "agent, signed" if signed else chance.choice([name for name in AGENT if name != "agent, signed"])
    operations, _ = length(job, slots)
    world = scenario(job, slots)
    trouble = Trouble(chance)
    trouble.torn = kind.torn
    judge = world.begin(trouble)
    world.board._seed = 1 + chance.randrange(1 << 30)
    plan = Plan(world, trouble, chance, operations)
    outcome = Outcome(name, f"{job}, {slots} slots", "bricked", 0, Counter())
    try:
        outcome.end = _boots(plan, kind, judge, outcome)
    except Bricked as why:
        outcome.why = str(why)
    except (Exception, asyncio.CancelledError) as error:  # the loader let it out: nobody would catch it on a board
        outcome.why = f"the board's code raised {type(error).__name__}: {error}"
    outcome.happened.update(trouble.happened)
    return outcome


def _boots(plan: Plan, kind: Kind, judge, outcome: Outcome) -> str:
    world = plan.world
    resting = False
    while not resting:
        if plan.boot >= BOOTS:
            raise Bricked(f"no rest after {BOOTS} boots")
        troubled = plan.boot < kind.troubled
        plan.board.cut_at(None)
        plan.trouble.misreads = set()
        if troubled:
            kind.prepare(plan)
        end = one_boot(world, judge)
        plan.boot += 1
        outcome.boots = plan.boot
        resting = not troubled and end in ("stopped", "safe")
    judge.at_the_end()
    if end == "safe":
        if not kind.help:
            raise Bricked("safe mode, and nothing was damaged that an update does not write")
        return "safe mode"
    record = judge.record()
    done = world.running == world.goal and record is not None and record.floor >= world.floor
    if not done and kind.harmless:
        raise Bricked(f"sequence {world.running} in the end, not {world.goal}, though the power was all that failed")
    return "done" if done else "kept"
