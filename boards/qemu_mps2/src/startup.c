// From reset to main: the vector table, and C's world set up.

#include <stdint.h>

#include "mps2.h"

extern uint32_t _stack_top, _data_load, _data_start, _data_end, _bss_start, _bss_end;

int main(void);
void NMI_Handler(void);
void Fault_Handler(void);
void SysTick_Handler(void);
void UART0_RX_Handler(void);
void Ethernet_Handler(void);

void Reset_Handler(void) {
    for (uint32_t *from = &_data_load, *to = &_data_start; to < &_data_end;) {
        *to++ = *from++;
    }
    for (uint32_t *to = &_bss_start; to < &_bss_end;) {
        *to++ = 0;
    }
    #if defined(__ARM_FP)
    SCB_CPACR |= CPACR_FPU;
    __asm volatile ("dsb\n isb");
    #endif
    main();
}

// Exceptions 11 to 14 (SVCall, debug monitor, PendSV) and the other interrupts are never enabled, so that their
// arrival is a fault like any other.
const void *const vectors[16 + 32] __attribute__((section(".vectors"), used)) = {
    [0] = &_stack_top,
    [1] = Reset_Handler,
    [2] = NMI_Handler,
    [3] = Fault_Handler,
    [4] = Fault_Handler,
    [5] = Fault_Handler,
    [6] = Fault_Handler,
    [11] = Fault_Handler,
    [12] = Fault_Handler,
    [14] = Fault_Handler,
    [15] = SysTick_Handler,
    [16 + IRQ_UART0_RX] = UART0_RX_Handler,
    [17 ... 15 + IRQ_ETHERNET] = Fault_Handler,
    [16 + IRQ_ETHERNET] = Ethernet_Handler,
    [17 + IRQ_ETHERNET ... 47] = Fault_Handler,
};
