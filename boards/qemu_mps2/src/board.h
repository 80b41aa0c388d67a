// What the files of this port offer each other.

#ifndef TIDEGATE_BOARD_H
#define TIDEGATE_BOARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// uart.c: the console.
void uart_init(void);
void uart_put(char c);
void uart_put_polled(const char *text);
int uart_get(void);
bool uart_readable(void);

// clock.c: time since reset, in milliseconds and in clocks of 25 MHz. Neither wraps within the life of a board.
void clock_init(void);
typedef void (*clock_hook_t)(void);
void clock_call_every(uint32_t ms, clock_hook_t function); // from the clock's interrupt; one hook
void clock_wake(void); // the next wait ends at once
uint64_t clock_ms(void);
uint64_t clock_count(void);

// reset.c: why the board last started, and how to make it start again.
typedef enum {
    RESET_POWER_ON = 1, // the numbers of machine.PWRON_RESET and so on
    RESET_HARD = 2,
    RESET_WATCHDOG = 3,
    RESET_SOFT = 5,
    RESET_FAULT = 6,
    RESET_UNKNOWN = 7,
} reset_cause_t;

void reset_init(void);
reset_cause_t reset_cause(void);
void reset_note_soft(void);
void reset_now(reset_cause_t cause) __attribute__((noreturn));
void watchdog_start(uint32_t timeout_ms);

// fault.c: what the core was at when a fault or the watchdog ended the last run; kept over that reset.
typedef struct {
    uint32_t exception; // its number: 2 is the watchdog's NMI, 3 to 6 are faults
    uint32_t pc, lr, psr; // 0 where the stack was of no use
    uint32_t cfsr, hfsr, address;
} fault_t;

void fault_init(void);
const fault_t *fault_last(void); // NULL: there was none
void watchdog_feed(void);

// flash.c: the persistent storage as NOR flash. Offsets are into the whole storage; callers check ranges.
const uint8_t *flash_map(uint32_t offset);
void flash_erase(uint32_t offset, uint32_t length);
void flash_write(uint32_t offset, const void *data, uint32_t length);

// random.c: os.urandom's generator.
void random_init(const uint8_t mac[6]);
void random_stir(uint32_t event);
void random_fill(void *data, size_t length);
uint32_t random_u32(void);

// lan9118.c: the Ethernet controller.
#define LAN_FRAME_MAX (1536)
void lan_init(void);
void lan_mac(uint8_t mac[6]);
typedef void (*lan_hook_t)(void);
void lan_start(lan_hook_t on_receive); // called in the interrupt that a received frame makes
void lan_stop(void);
size_t lan_receive(uint32_t frame[LAN_FRAME_MAX / 4]);
bool lan_send(const uint32_t frame[LAN_FRAME_MAX / 4], size_t length);

// network_lan.c: lwIP over it.
void network_init(void);

#endif
