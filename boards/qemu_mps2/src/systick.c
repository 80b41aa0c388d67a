// Time: SysTick interrupts once a millisecond and its counter tells where in the millisecond we are.

#include "py/mphal.h"
#include "py/runtime.h"
#include "shared/timeutils/timeutils.h"
#include "extmod/modtime.h"

#include "board.h"
#include "mps2.h"

#define NETWORK_POLL_MS (16) // how often lwIP's timers are looked at; the finest of them has 100 ms

static volatile uint64_t milliseconds;

void systick_init(void) {
    SYST_RVR = MPS2_CLOCKS_PER_MS - 1;
    SYST_CVR = 0;
    SYST_CSR = SYST_CSR_ENABLE | SYST_CSR_INTERRUPT | SYST_CSR_CORE_CLOCK;
}

void SysTick_Handler(void) {
    uint64_t now = milliseconds + 1;
    milliseconds = now;
    if (now % NETWORK_POLL_MS == 0) {
        network_schedule_poll();
    }
}

uint64_t systick_ms(void) {
    uint32_t state = disable_interrupts();
    uint64_t now = milliseconds;
    restore_interrupts(state);
    return now;
}

uint64_t systick_clocks(void) {
    uint32_t state = disable_interrupts();
    uint64_t whole = milliseconds;
    uint32_t left = SYST_CVR;
    // A tick that came after interrupts were disabled is pending and not yet in `milliseconds`; the counter may have
    // been read on either side of it, so it is read again.
    if (SCB_ICSR & ICSR_SYSTICK_PENDING) {
        left = SYST_CVR;
        whole++;
    }
    restore_interrupts(state);
    return whole * MPS2_CLOCKS_PER_MS + (MPS2_CLOCKS_PER_MS - 1 - left);
}

mp_uint_t mp_hal_ticks_ms(void) {
    return (mp_uint_t)systick_ms();
}

mp_uint_t mp_hal_ticks_us(void) {
    return (mp_uint_t)(systick_clocks() / MPS2_CLOCKS_PER_US);
}

mp_uint_t mp_hal_ticks_cpu(void) {
    return (mp_uint_t)systick_clocks();
}

// The board has no battery: the clock starts at the epoch at every reset.
uint64_t mp_hal_time_ns(void) {
    return systick_clocks() * (1000 / MPS2_CLOCKS_PER_US);
}

void mp_hal_delay_ms(mp_uint_t ms) {
    uint64_t end = systick_clocks() + (uint64_t)ms * MPS2_CLOCKS_PER_MS;
    do {
        mp_event_wait_ms(1);
    } while (systick_clocks() < end);
}

void mp_hal_delay_us(mp_uint_t us) {
    uint64_t end = systick_clocks() + (uint64_t)us * MPS2_CLOCKS_PER_US;
    while (systick_clocks() < end) {
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
