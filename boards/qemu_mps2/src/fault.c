// A fault (bad address, bad instruction, unexpected exception) is reported on the console and resets the board.

#include <stdint.h>

#include "board.h"
#include "mps2.h"

// What the core pushes on exception entry.
typedef struct {
    uint32_t r0, r1, r2, r3, r12, lr, pc, psr;
} frame_t;

extern uint32_t _stack_top, _stack_bottom;

static void put_hex(const char *name, uint32_t value) {
    char text[12] = " ";
    for (int i = 0; i < 8; i++) {
        text[1 + i] = "0123456789abcdef"[(value >> (28 - 4 * i)) & 15];
    }
    text[9] = 0;
    uart_put_polled(name);
    uart_put_polled(text);
}

__attribute__((used)) static void report(const frame_t *frame) {
    uint32_t exception = SCB_ICSR & 0x1ff;
    uart_put_polled("\r\nfault: resetting\r\n");
    put_hex("exception", exception);
    put_hex(" cfsr", SCB_CFSR);
    put_hex(" hfsr", SCB_HFSR);
    put_hex(" mmfar", SCB_MMFAR);
    put_hex(" bfar", SCB_BFAR);
    put_hex("\r\nsp", (uint32_t)frame);
    // The frame is readable only if the stack pointer was sane; a fault in here would lock the core up.
    if (frame >= (frame_t *)&_stack_bottom && frame + 1 <= (frame_t *)&_stack_top) {
        put_hex(" pc", frame->pc);
        put_hex(" lr", frame->lr);
        put_hex(" psr", frame->psr);
        put_hex("\r\nr0", frame->r0);
        put_hex(" r1", frame->r1);
        put_hex(" r2", frame->r2);
        put_hex(" r3", frame->r3);
    }
    uart_put_polled("\r\n");
    reset_now(RESET_FAULT);
}

// The faulting stack may be exhausted: report on a fresh one, at the top of the stack region. Nothing below returns.
__attribute__((naked)) void Fault_Handler(void) {
    __asm volatile (
        "mov r0, sp\n"
        "ldr r1, =_stack_top\n"
        "ldr r2, =_stack_bottom\n"
        "cmp r0, r2\n"
        "it lo\n"
        "movlo sp, r1\n"
        "b report\n");
}
