// A fault (bad address, bad instruction, unexpected exception) is reported on the console and resets the board. So does
// the watchdog. What the core was at is kept in RAM that no start-up code clears, for the next run to tell.

#include <stddef.h>
#include <stdint.h>

#include "board.h"
#include "mps2.h"

// What the core pushes on exception entry.
typedef struct {
    uint32_t r0, r1, r2, r3, r12, lr, pc, psr;
} frame_t;

extern uint32_t _stack_top, _stack_bottom;

#define NOTE_MAGIC (0x7469646fu)
#define NOTE_WORDS (sizeof(fault_t) / sizeof(uint32_t))

typedef struct {
    uint32_t magic;
    uint32_t check; // magic ^ all words, so that random RAM is not taken for a note
    fault_t fault;
} fault_note_t;

extern volatile fault_note_t _fault_note;

static fault_t last;
static bool told;

static uint32_t check_of(const fault_t *fault) {
    uint32_t check = NOTE_MAGIC;
    for (size_t i = 0; i < NOTE_WORDS; i++) {
        check ^= ((const uint32_t *)fault)[i];
    }
    return check;
}

void fault_init(void) {
    last = *(const fault_t *)&_fault_note.fault;
    told = _fault_note.magic == NOTE_MAGIC && _fault_note.check == check_of(&last);
    _fault_note.magic = 0;
}

const fault_t *fault_last(void) {
    return told ? &last : NULL;
}

// The frame is readable only if the stack pointer was sane; a fault in here would lock the core up.
static bool is_sane(const frame_t *frame) {
    return frame >= (frame_t *)&_stack_bottom && frame + 1 <= (frame_t *)&_stack_top;
}

static void keep(const frame_t *frame) {
    fault_t fault = {
        .exception = SCB_ICSR & 0x1ff,
        .cfsr = SCB_CFSR,
        .hfsr = SCB_HFSR,
        .address = SCB_BFAR,
    };
    if (is_sane(frame)) {
        fault.pc = frame->pc;
        fault.lr = frame->lr;
        fault.psr = frame->psr;
    }
    *(fault_t *)&_fault_note.fault = fault;
    _fault_note.check = check_of(&fault);
    _fault_note.magic = NOTE_MAGIC;
}

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
    keep(frame);
    uart_put_polled("\r\nfault: resetting\r\n");
    put_hex("exception", exception);
    put_hex(" cfsr", SCB_CFSR);
    put_hex(" hfsr", SCB_HFSR);
    put_hex(" mmfar", SCB_MMFAR);
    put_hex(" bfar", SCB_BFAR);
    put_hex("\r\nsp", (uint32_t)frame);
    if (is_sane(frame)) {
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

// The watchdog's first stage. Should the core be too broken to get here, the second stage resets it one timeout later.
__attribute__((used)) static void bite(const frame_t *frame) {
    keep(frame);
    uart_put_polled("\r\nwatchdog: not fed in time, resetting\r\n");
    reset_now(RESET_WATCHDOG);
}

__attribute__((naked)) void NMI_Handler(void) {
    __asm volatile (
        "mov r0, sp\n"
        "b bite\n");
}
