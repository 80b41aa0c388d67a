// The life of the board: hardware, then MicroPython again and again, once for every soft reset.

#include "py/compile.h"
#include "py/cstack.h"
#include "py/gc.h"
#include "py/mphal.h"
#include "py/runtime.h"
#include "shared/readline/readline.h"
#include "shared/runtime/gchelper.h"
#include "shared/runtime/pyexec.h"
#include "extmod/modnetwork.h"

#include "board.h"
#include "tls.h"

extern uint8_t _stack_top, _stack_bottom;

static uint8_t heap[TIDEGATE_HEAP_SIZE] __attribute__((aligned(16)));

static void init_hardware(void) {
    reset_init();
    fault_init();
    clock_init();
    uart_init();
    lan_init();
    uint8_t mac[6];
    lan_mac(mac);
    random_init(mac);
    network_init();
}

static void init_python(void) {
    mp_cstack_init_with_top(&_stack_top, &_stack_top - &_stack_bottom);
    gc_init(heap, heap + sizeof(heap));
    mp_init();
    tls_init();
    mod_network_init();
    readline_init0();
    mp_obj_list_append(mp_sys_path, mp_obj_new_str_from_cstr("/lib"));
}

// boot.py, main.py, then a REPL until somebody asks for a soft reset.
static void run_python(void) {
    pyexec_frozen_module("_boot.py", false);
    int result = pyexec_file_if_exists("boot.py");
    // main.py is for a board on its own: not when boot.py failed or when a host took over in the raw REPL.
    if (!(result & PYEXEC_FORCED_EXIT) && result != 0 && pyexec_mode_kind == PYEXEC_MODE_FRIENDLY_REPL) {
        result = pyexec_file_if_exists("main.py");
    }
    while (!(result & PYEXEC_FORCED_EXIT)) {
        result = pyexec_mode_kind == PYEXEC_MODE_RAW_REPL ? pyexec_raw_repl() : pyexec_friendly_repl();
    }
}

int main(void) {
    init_hardware();
    for (;;) {
        init_python();
        run_python();
        mp_printf(&mp_plat_print, "MPY: soft reboot\n");
        mod_network_deinit();
        gc_sweep_all(); // closes what Python left open, sockets among it
        mp_deinit();
        reset_note_soft();
    }
}

void gc_collect(void) {
    gc_collect_start();
    gc_helper_collect_regs_and_stack();
    gc_collect_end();
}

// An exception that nobody catches cannot come out of the REPL; if one does, the interpreter's state is broken.
void nlr_jump_fail(void *exception) {
    uart_put_polled("\r\nuncaught exception outside Python, resetting\r\n");
    reset_now(RESET_FAULT);
}
