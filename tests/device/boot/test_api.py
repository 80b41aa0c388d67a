"""The contract between loader and agent (boot/api.py): names that agents of every release rely on."""

from boot import changes, flash, loader, rollback
from check import equal, true
from test_loader import IMAGE, board_with

HEAP = "1m"
SLOTS = ("rom", "file")
BOOT = (
    "board watchdog slot running trial reset_cause SlotError outcome clear_outcome sequence_floor other_slot_size "
    "image file_system read_running other_digest slot_writer is_bad arm_trial confirm raise_floor fail_attempt "
    "release_attempt reset AWAY forgive BARE"
)


def public(thing):
    return {name for name in dir(thing) if not name.startswith("_")}


def test_the_names_of_a_boot():
    """A new name is added here, and agents must do without it on older loaders; none is renamed or removed."""
    board = board_with()
    found = []

    def launch(boot):
        seldom = public(changes.Changes(boot))
        true(all(hasattr(boot, name) for name in seldom))
        true(not hasattr(boot, "nothing") and not hasattr(boot, "_nothing"))
        found.append((public(boot) | seldom, public(boot.running), public(boot.watchdog)))
        found.append((public(boot.slot_writer(len(IMAGE))), isinstance(boot.SlotError("x"), Exception)))

    board.boot(lambda board: loader.run(board, launch))
    equal(found[0], (set(BOOT.split()), {"size", "digest", "sequence"}, {"start", "feed"}))
    equal(found[1], ({"write", "finish"}, True))


def test_the_names_of_an_outcome():
    equal(public(changes.Outcome(True, "none", 3, bytes(32))), {"confirmed", "reason", "sequence", "digest"})


def test_what_commands_call():
    true({"check", "go", "look"} <= public(rollback))


def test_what_the_host_calls():
    true({"install", "install_loader", "status"} <= public(flash))
