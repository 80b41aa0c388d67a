// Time. CMSDK timer 0 counts the core clock and is what time is read from; SysTick interrupts only when a wait or the
// pause between two calls of the hook ends, because an emulator pays some 0.2 ms of its host for each time it wakes up.
// Time is not counted in SysTick interrupts, because a busy host delivers some of them late or merged.

#include "py/mphal.h"
#include "py/runtime.h"
#include "shared/timeutils/timeutils.h"
#include "extmod/modtime.h"

#include "board.h"
#include "mps2.h"

#define LONGEST_MS (100) // between two interrupts; SysTick could count to 671

static struct {
    uint32_t count; // of the timer, when it was last read; it wraps after 171 s
    uint64_t clocks;
    uint64_t ms; // whole milliseconds, and the clocks beyond them
    uint32_t rest;
} now;

static clock_hook_t hook;
static uint32_t hook_ms;
static uint64_t hook_due; // in milliseconds since reset
static volatile bool woken; // something has happened that a waiting program may have waited for

// The next interrupt of SysTick; in a handler or with interrupts disabled. It comes again after the same time.
static void interrupt_after(uint32_t ms) {
    SYST_RVR = ms * MPS2_CLOCKS_PER_MS - 1;
    SYST_CVR = 0;
}

void clock_init(void) {
    TIMER0_RELOAD = UINT32_MAX;
    TIMER0_VALUE = UINT32_MAX;
    TIMER0_CTRL = TIMER_CTRL_ENABLE;
    now.count = ~TIMER0_VALUE;
    interrupt_after(LONGEST_MS);
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

// How long SysTick may count, with the time brought up to date.
static uint32_t until_hook(void) {
    if (hook == NULL || hook_due >= now.ms + LONGEST_MS) {
        return LONGEST_MS;
    }
    return hook_due > now.ms ? (uint32_t)(hook_due - now.ms) : 1;
}

void SysTick_Handler(void) {
    uint32_t state = disable_interrupts();
    advance();
    bool due = hook != NULL && now.ms >= hook_due;
    if (due) {
        hook_due = now.ms + hook_ms;
    }
    interrupt_after(until_hook());
    restore_interrupts(state);
    if (due) {
        hook();
    }
}

void clock_call_every(uint32_t ms, clock_hook_t function) {
    uint32_t state = disable_interrupts();
    advance();
    hook_ms = ms;
    hook = function;
    hook_due = now.ms + ms;
    interrupt_after(until_hook());
    restore_interrupts(state);
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
    uint64_t left = (uint64_t)ms * MPS2_CLOCKS_PER_MS;
    uint64_t end = clock_count() + left;
    do {
        mp_event_wait_ms((mp_uint_t)((left + MPS2_CLOCKS_PER_MS - 1) / MPS2_CLOCKS_PER_MS));
        uint64_t count = clock_count();
        left = count < end ? end - count : 0;
    } while (left > 0);
}

void mp_hal_delay_us(mp_uint_t us) {
    uint64_t end = clock_count() + (uint64_t)us * MPS2_CLOCKS_PER_US;
    while (clock_count() < end) {
    }
}

// From an interrupt, or from what the scheduler ran: the next wait does not sleep, since what the program looked at
// before it may have changed. (WFE has such a register of its own, but QEMU does not sleep at WFE.)
void clock_wake(void) {
    woken = true;
}

// Sleeps until something happens, at most `timeout_ms`. Interrupts are held off between the question whether there is
// work and the wait: WFI wakes for a pending interrupt even then, so none is slept through.
void wait_for_interrupt(uint32_t timeout_ms) {
    uint32_t state = disable_interrupts();
    if (!woken && timeout_ms > 0 && MP_STATE_VM(sched_state) != MP_SCHED_PENDING
        && MP_STATE_THREAD(mp_pending_exception) == MP_OBJ_NULL) {
        advance();
        uint32_t longest = until_hook();
        interrupt_after(timeout_ms < longest ? timeout_ms : longest);
        __asm volatile ("dsb\n wfi");
    }
    woken = false;
    restore_interrupts(state);
}
