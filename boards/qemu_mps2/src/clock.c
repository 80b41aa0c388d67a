// Time. CMSDK timer 0 counts the core clock and is what time is read from; SysTick interrupts once a millisecond so that
// waiting ends. Time is not counted in SysTick interrupts, because a busy host delivers some of them late or merged.

#include "py/mphal.h"
#include "py/runtime.h"
#include "shared/timeutils/timeutils.h"
#include "extmod/modtime.h"

#include "board.h"
#include "mps2.h"

static struct {
    uint32_t count; // of the timer, when it was last read; it wraps after 171 s
    uint64_t clocks;
    uint64_t ms; // whole milliseconds, and the clocks beyond them
    uint32_t rest;
} now;

static clock_hook_t hook;
static uint32_t hook_ms;

void clock_init(void) {
    TIMER0_RELOAD = UINT32_MAX;
    TIMER0_VALUE = UINT32_MAX;
    TIMER0_CTRL = TIMER_CTRL_ENABLE;
    now.count = ~TIMER0_VALUE;
    SYST_RVR = MPS2_CLOCKS_PER_MS - 1;
    SYST_CVR = 0;
    SYST_CSR = SYST_CSR_ENABLE | SYST_CSR_INTERRUPT | SYST_CSR_CORE_CLOCK;
}

// Brings `now` up to date; with interrupts disabled. 32-bit arithmetic only: this runs a thousand times a second.
static void advance(void) {
    uint32_t count = ~TIMER0_VALUE; // the timer counts down
    uint32_t passed = count - now.count;
    now.count = count;
    now.clocks += passed;
    now.ms += passed / MPS2_CLOCKS_PER_MS;
    now.rest += passed % MPS2_CLOCKS_PER_MS;
    if (now.rest >= MPS2_CLOCKS_PER_MS) {
        now.rest -= MPS2_CLOCKS_PER_MS;
        now.ms++;
    }
}

void SysTick_Handler(void) {
    static uint32_t ticks; // since the hook was last called
    uint32_t state = disable_interrupts();
    advance();
    restore_interrupts(state);
    if (hook != NULL && ++ticks >= hook_ms) {
        ticks = 0;
        hook();
    }
}

void clock_call_every(uint32_t ms, clock_hook_t function) {
    hook_ms = ms;
    hook = function;
}

uint64_t clock_ms(void) {
    uint32_t state = disable_interrupts();
    advance();
    uint64_t ms = now.ms;
    restore_interrupts(state);
    return ms;
}

uint64_t clock_count(void) {
    uint32_t state = disable_interrupts();
    advance();
    uint64_t clocks = now.clocks;
    restore_interrupts(state);
    return clocks;
}

mp_uint_t mp_hal_ticks_ms(void) {
    return (mp_uint_t)clock_ms();
}

mp_uint_t mp_hal_ticks_us(void) {
    uint32_t state = disable_interrupts();
    advance();
    mp_uint_t us = (mp_uint_t)now.ms * 1000 + now.rest / MPS2_CLOCKS_PER_US;
    restore_interrupts(state);
    return us;
}

mp_uint_t mp_hal_ticks_cpu(void) {
    return (mp_uint_t)clock_count();
}

// The board has no battery: the clock starts at the epoch at every reset.
uint64_t mp_hal_time_ns(void) {
    return clock_count() * (1000 / MPS2_CLOCKS_PER_US);
}

void mp_hal_delay_ms(mp_uint_t ms) {
    uint64_t end = clock_count() + (uint64_t)ms * MPS2_CLOCKS_PER_MS;
    do {
        mp_event_wait_ms(1);
    } while (clock_count() < end);
}

void mp_hal_delay_us(mp_uint_t us) {
    uint64_t end = clock_count() + (uint64_t)us * MPS2_CLOCKS_PER_US;
    while (clock_count() < end) {
    }
}

// Sleep until the next interrupt, at most until the next tick. Interrupts are held off between the question whether
// there is work and the wait: WFI wakes for a pending interrupt even then, so none is slept through.
void wait_for_interrupt(void) {
    uint32_t state = disable_interrupts();
    if (MP_STATE_VM(sched_state) != MP_SCHED_PENDING && MP_STATE_THREAD(mp_pending_exception) == MP_OBJ_NULL) {
        __asm volatile ("dsb\n wfi");
    }
    restore_interrupts(state);
}
