// What machine has on this board; included by extmod/modmachine.c.

#include "board.h"
#include "mps2.h"

static void mp_machine_idle(void) {
    mp_event_wait_ms(1); // programs call it in loops that count time
}

NORETURN static void mp_machine_reset(void) {
    reset_now(RESET_HARD);
}

static mp_int_t mp_machine_reset_cause(void) {
    return reset_cause();
}

// The MAC address the emulator was started with.
static mp_obj_t mps2_unique_id(void) {
    uint8_t mac[6];
    lan_mac(mac);
    return mp_obj_new_bytes(mac, sizeof(mac));
}
static MP_DEFINE_CONST_FUN_OBJ_0(mps2_unique_id_obj, mps2_unique_id);

static mp_obj_t mps2_freq(void) {
    return MP_OBJ_NEW_SMALL_INT(MPS2_CLOCK_HZ);
}
static MP_DEFINE_CONST_FUN_OBJ_0(mps2_freq_obj, mps2_freq);

#define MICROPY_PY_MACHINE_EXTRA_GLOBALS \
    { MP_ROM_QSTR(MP_QSTR_unique_id), MP_ROM_PTR(&mps2_unique_id_obj) }, \
    { MP_ROM_QSTR(MP_QSTR_freq), MP_ROM_PTR(&mps2_freq_obj) }, \
    { MP_ROM_QSTR(MP_QSTR_PWRON_RESET), MP_ROM_INT(RESET_POWER_ON) }, \
    { MP_ROM_QSTR(MP_QSTR_HARD_RESET), MP_ROM_INT(RESET_HARD) }, \
    { MP_ROM_QSTR(MP_QSTR_WDT_RESET), MP_ROM_INT(RESET_WATCHDOG) }, \
    { MP_ROM_QSTR(MP_QSTR_SOFT_RESET), MP_ROM_INT(RESET_SOFT) }, \
    { MP_ROM_QSTR(MP_QSTR_FAULT_RESET), MP_ROM_INT(RESET_FAULT) }, \

