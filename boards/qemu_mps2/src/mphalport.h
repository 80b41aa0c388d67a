// What MicroPython's core asks of the hardware; the functions are in uart.c and clock.c.

#ifndef TIDEGATE_MPHALPORT_H
#define TIDEGATE_MPHALPORT_H

#include "mps2.h"

#define MICROPY_BEGIN_ATOMIC_SECTION() disable_interrupts()
#define MICROPY_END_ATOMIC_SECTION(state) restore_interrupts(state)

void wait_for_interrupt(uint32_t timeout_ms); // without end: UINT32_MAX

#define MICROPY_INTERNAL_WFE(timeout_ms) wait_for_interrupt((uint32_t)(timeout_ms))

void mp_hal_set_interrupt_char(int c);

#endif
