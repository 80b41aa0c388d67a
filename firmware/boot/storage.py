"""Opens what a board boots from: its two slots and its boot record."""

from boot import FILES
from boot.record import Store


def open_slots(board, kind):
    """The board's slots (boot.slots describes them). kind: boot.ROM or boot.FILES."""
    if kind == FILES:
        from boot.fileslots import Slots
    else:
        from boot.romslots import Slots
    return Slots(board)


def open_record(board, kind):
    """(slots, store, record); raises OSError if the record cannot be read any more."""
    slots = open_slots(board, kind)
    store = Store(slots)
    record = store.load()
    if record is None:
        raise OSError("the boot record is gone")
    return slots, store, record
