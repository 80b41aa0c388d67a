// machine.WDT; included by extmod/machine_wdt.c. Making it again restarts it with the new timeout; nothing stops it.

#include "board.h"
#include "mps2.h"

#define TIMEOUT_MAX_MS (UINT32_MAX / MPS2_CLOCKS_PER_MS) // the counter has 32 bits: 171 s

struct _machine_wdt_obj_t {
    mp_obj_base_t base;
};

static const machine_wdt_obj_t machine_wdt = { { &machine_wdt_type } };

static machine_wdt_obj_t *mp_machine_wdt_make_new_instance(mp_int_t id, mp_int_t timeout_ms) {
    if (id != 0) {
        mp_raise_ValueError(MP_ERROR_TEXT("WDT doesn't exist"));
    }
    if (timeout_ms < 1 || timeout_ms > (mp_int_t)TIMEOUT_MAX_MS) {
        mp_raise_ValueError(MP_ERROR_TEXT("WDT timeout must be 1 to 171798 ms"));
    }
    watchdog_start(timeout_ms);
    return (machine_wdt_obj_t *)&machine_wdt;
}

static void mp_machine_wdt_feed(machine_wdt_obj_t *self) {
    watchdog_feed();
}
