// Why the board last started, and the watchdog.
//
// The board has no reset-cause register. A note in RAM that no start-up code clears takes its place: whoever resets the
// board writes the cause first. After a power cut the RAM does not hold the note's magic number; a note that was left
// at "running" means a reset nobody announced, which only the watchdog's second stage can do.

#include "board.h"
#include "mps2.h"

#define NOTE_MAGIC (0x7469646eu)
#define NOTE_RUNNING (0u)
#define NOTE_RUNNING_WATCHED (1u)

typedef struct {
    uint32_t magic;
    uint32_t state; // NOTE_RUNNING..., or NOTE_ANNOUNCED + a reset_cause_t
    uint32_t check; // magic ^ state, so that random RAM is not taken for a note
} boot_note_t;

#define NOTE_ANNOUNCED (0x100u)

extern volatile boot_note_t _boot_note;

static reset_cause_t cause;

static void note(uint32_t state) {
    _boot_note.magic = NOTE_MAGIC;
    _boot_note.state = state;
    _boot_note.check = NOTE_MAGIC ^ state;
}

void reset_init(void) {
    uint32_t state = _boot_note.state;
    if (_boot_note.magic != NOTE_MAGIC || _boot_note.check != (NOTE_MAGIC ^ state)) {
        cause = RESET_POWER_ON;
    } else if (state >= NOTE_ANNOUNCED) {
        cause = (reset_cause_t)(state - NOTE_ANNOUNCED);
    } else {
        cause = state == NOTE_RUNNING_WATCHED ? RESET_WATCHDOG : RESET_UNKNOWN;
    }
    note(NOTE_RUNNING);
}

reset_cause_t reset_cause(void) {
    return cause;
}

void reset_note_soft(void) {
    cause = RESET_SOFT;
}

void reset_now(reset_cause_t why) {
    note(NOTE_ANNOUNCED + why);
    SCB_AIRCR = AIRCR_SYSTEM_RESET;
    for (;;) {
    }
}

void watchdog_start(uint32_t timeout_ms) {
    WDOG_LOCK = WDOG_UNLOCK;
    WDOG_LOAD = timeout_ms * MPS2_CLOCKS_PER_MS;
    WDOG_CONTROL = WDOG_CONTROL_INTERRUPT | WDOG_CONTROL_RESET;
    WDOG_LOCK = 0;
    note(NOTE_RUNNING_WATCHED);
}

void watchdog_feed(void) {
    WDOG_LOCK = WDOG_UNLOCK;
    WDOG_INTCLR = 1;
    WDOG_LOCK = 0;
}
