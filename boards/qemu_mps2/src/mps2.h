// The registers of the MPS2 board that this port uses, as QEMU's machines mps2-an385, -an386 and -an500 have them.
// Sources: Arm application notes DAI0385, DAI0386 and DAI0500, the CMSDK technical reference (DDI0479), the Armv7-M reference
// manual (DDI0403) and the data sheet of the LAN9118.

#ifndef TIDEGATE_MPS2_H
#define TIDEGATE_MPS2_H

#include <stdint.h>

#define MPS2_REG(address) (*(volatile uint32_t *)(address))

// The number of the application note, which the Makefile gives, tells where these two are.
#if MPS2_NOTE == 500
#define MPS2_ETHERNET (0xa0000000u)
#define MPS2_PSRAM (0x60000000u)
#else
#define MPS2_ETHERNET (0x40200000u)
#define MPS2_PSRAM (0x21000000u)
#endif

// Core clock of all of them. Timer 0, SysTick and the watchdog count it.
#define MPS2_CLOCK_HZ (25000000u)
#define MPS2_CLOCKS_PER_US (MPS2_CLOCK_HZ / 1000000u)
#define MPS2_CLOCKS_PER_MS (MPS2_CLOCK_HZ / 1000u)

// CMSDK timer 0, a 32-bit down counter.
#define TIMER0_CTRL MPS2_REG(0x40000000)
#define TIMER0_VALUE MPS2_REG(0x40000004)
#define TIMER0_RELOAD MPS2_REG(0x40000008)
#define TIMER_CTRL_ENABLE (1u << 0)

// CMSDK UART 0, the console. The divider must be at least 16; QEMU ignores its value otherwise.
#define UART0_DATA MPS2_REG(0x40004000)
#define UART0_STATE MPS2_REG(0x40004004)
#define UART0_CTRL MPS2_REG(0x40004008)
#define UART0_INTCLEAR MPS2_REG(0x4000400c)
#define UART0_BAUDDIV MPS2_REG(0x40004010)

// CMSDK UART 1, the entropy source (random.c).
#define UART1_DATA MPS2_REG(0x40005000)
#define UART1_STATE MPS2_REG(0x40005004)
#define UART1_CTRL MPS2_REG(0x40005008)
#define UART1_BAUDDIV MPS2_REG(0x40005010)

#define UART_STATE_TX_FULL (1u << 0)
#define UART_STATE_RX_FULL (1u << 1)
#define UART_CTRL_TX_ENABLE (1u << 0)
#define UART_CTRL_RX_ENABLE (1u << 1)
#define UART_CTRL_RX_INTERRUPT (1u << 3)
#define UART_INT_RX (1u << 1)

// CMSDK watchdog. First expiry is an NMI, a second one resets the machine.
#define WDOG_LOAD MPS2_REG(0x40008000)
#define WDOG_CONTROL MPS2_REG(0x40008008)
#define WDOG_INTCLR MPS2_REG(0x4000800c)
#define WDOG_LOCK MPS2_REG(0x40008c00)
#define WDOG_CONTROL_INTERRUPT (1u << 0)
#define WDOG_CONTROL_RESET (1u << 1)
#define WDOG_UNLOCK (0x1acce551u)

// LAN9118 Ethernet controller.
#define LAN_RX_DATA MPS2_REG(MPS2_ETHERNET + 0x00)
#define LAN_TX_DATA MPS2_REG(MPS2_ETHERNET + 0x20)
#define LAN_RX_STATUS MPS2_REG(MPS2_ETHERNET + 0x40)
#define LAN_TX_STATUS MPS2_REG(MPS2_ETHERNET + 0x48)
#define LAN_BYTE_TEST MPS2_REG(MPS2_ETHERNET + 0x64)
#define LAN_IRQ_CFG MPS2_REG(MPS2_ETHERNET + 0x54)
#define LAN_INT_STS MPS2_REG(MPS2_ETHERNET + 0x58)
#define LAN_INT_EN MPS2_REG(MPS2_ETHERNET + 0x5c)
#define LAN_FIFO_INT MPS2_REG(MPS2_ETHERNET + 0x68)
#define LAN_TX_CFG MPS2_REG(MPS2_ETHERNET + 0x70)
#define LAN_HW_CFG MPS2_REG(MPS2_ETHERNET + 0x74)
#define LAN_RX_FIFO_INF MPS2_REG(MPS2_ETHERNET + 0x7c)
#define LAN_TX_FIFO_INF MPS2_REG(MPS2_ETHERNET + 0x80)
#define LAN_FREE_RUN MPS2_REG(MPS2_ETHERNET + 0x9c)
#define LAN_MAC_CSR_CMD MPS2_REG(MPS2_ETHERNET + 0xa4)
#define LAN_MAC_CSR_DATA MPS2_REG(MPS2_ETHERNET + 0xa8)

// Armv7-M system control.
#define SYST_CSR MPS2_REG(0xe000e010)
#define SYST_RVR MPS2_REG(0xe000e014)
#define SYST_CVR MPS2_REG(0xe000e018)
#define NVIC_ISER MPS2_REG(0xe000e100)
#define NVIC_ICER MPS2_REG(0xe000e180)
#define SCB_ICSR MPS2_REG(0xe000ed04)
#define SCB_AIRCR MPS2_REG(0xe000ed0c)
#define SCB_CFSR MPS2_REG(0xe000ed28)
#define SCB_HFSR MPS2_REG(0xe000ed2c)
#define SCB_MMFAR MPS2_REG(0xe000ed34)
#define SCB_BFAR MPS2_REG(0xe000ed38)
#define SCB_CPACR MPS2_REG(0xe000ed88)
#define SYST_CSR_ENABLE (1u << 0)
#define SYST_CSR_INTERRUPT (1u << 1)
#define SYST_CSR_CORE_CLOCK (1u << 2)
#define AIRCR_SYSTEM_RESET (0x05fa0004u)
#define CPACR_FPU (0xfu << 20)

// Interrupt numbers.
#define IRQ_UART0_RX (0)
#define IRQ_ETHERNET (13)

static inline uint32_t disable_interrupts(void) {
    uint32_t state;
    __asm volatile ("mrs %0, primask\n cpsid i" : "=r" (state) : : "memory");
    return state;
}

static inline void restore_interrupts(uint32_t state) {
    __asm volatile ("msr primask, %0" : : "r" (state) : "memory");
}

#endif
