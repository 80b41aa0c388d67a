// The console: CMSDK UART 0. Received bytes go through a ring that the interrupt fills, so that Ctrl-C reaches a
// program that reads nothing; sent bytes are written directly.

#include "py/mphal.h"
#include "py/runtime.h"
#include "py/stream.h"
#include "shared/runtime/interrupt_char.h"

#include "board.h"
#include "mps2.h"

#define RING_SIZE (1024) // a power of two, at least twice MicroPython's raw-paste window
#define TX_STALL_MS (250) // how long to wait for a host that holds the port open without reading

static uint8_t ring[RING_SIZE];
static volatile uint16_t ring_head; // written by the interrupt
static volatile uint16_t ring_tail; // written by the reader
static bool tx_stalled;
static volatile bool attended; // somebody has typed something since the last reset

void uart_init(void) {
    UART0_BAUDDIV = 16;
    UART0_CTRL = UART_CTRL_TX_ENABLE | UART_CTRL_RX_ENABLE | UART_CTRL_RX_INTERRUPT;
    NVIC_ISER = 1u << IRQ_UART0_RX;
}

void UART0_RX_Handler(void) {
    // Cleared before the bytes are taken: a byte that arrives after the last look raises the interrupt again. Cleared
    // afterwards, that byte would sit in the register with nobody to fetch it, and no other would ever follow.
    UART0_INTCLEAR = UART_INT_RX;
    clock_wake();
    while (UART0_STATE & UART_STATE_RX_FULL) {
        uint8_t c = (uint8_t)UART0_DATA;
        attended = true;
        random_stir(c);
        if (c == mp_interrupt_char) {
            mp_sched_keyboard_interrupt();
            continue;
        }
        uint16_t next = (ring_head + 1) % RING_SIZE;
        // A full ring drops the new byte, as a UART without flow control does: Ctrl-C must always get through.
        if (next != ring_tail) {
            ring[ring_head] = c;
            ring_head = next;
        }
    }
}

bool uart_readable(void) {
    return ring_head != ring_tail;
}

int uart_get(void) {
    if (!uart_readable()) {
        return -1;
    }
    uint8_t c = ring[ring_tail];
    ring_tail = (ring_tail + 1) % RING_SIZE;
    return c;
}

// Nobody reading the console must not stop the board: after one full wait, bytes are dropped until there is room again.
void uart_put(char c) {
    if (UART0_STATE & UART_STATE_TX_FULL) {
        if (tx_stalled) {
            return;
        }
        uint64_t start = clock_ms();
        while (UART0_STATE & UART_STATE_TX_FULL) {
            if (clock_ms() - start > TX_STALL_MS) {
                tx_stalled = true;
                return;
            }
        }
    }
    tx_stalled = false;
    UART0_DATA = (uint8_t)c;
}

// For the fault handler: no interrupt, no clock, no wait without end.
void uart_put_polled(const char *text) {
    for (; *text; text++) {
        for (uint32_t tries = 1000000; (UART0_STATE & UART_STATE_TX_FULL) && tries; tries--) {
        }
        UART0_DATA = (uint8_t)*text;
    }
}

int mp_hal_stdin_rx_chr(void) {
    for (;;) {
        int c = uart_get();
        if (c >= 0) {
            return c;
        }
        // Only the REPL waits here. A board is not to be reset under the hands of a person at the console; but one whose
        // program ended in a REPL with nobody there has failed, and the watchdog shall bite.
        if (attended) {
            watchdog_feed();
        }
        mp_event_wait_indefinite();
    }
}

mp_uint_t mp_hal_stdout_tx_strn(const char *text, size_t length) {
    for (size_t i = 0; i < length; i++) {
        uart_put(text[i]);
    }
    return length;
}

uintptr_t mp_hal_stdio_poll(uintptr_t flags) {
    uintptr_t ready = 0;
    if ((flags & MP_STREAM_POLL_RD) && uart_readable()) {
        ready |= MP_STREAM_POLL_RD;
    }
    if (flags & MP_STREAM_POLL_WR) {
        ready |= MP_STREAM_POLL_WR;
    }
    return ready;
}
