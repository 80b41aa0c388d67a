// The LAN9118 Ethernet controller: frames in, frames out. Its registers are 32 bits wide, so frames are handled in words.

#include "board.h"
#include "mps2.h"

#define CSR_BUSY (1u << 31)
#define CSR_READ (1u << 30)
#define MAC_CR (1)
#define MAC_ADDRH (2)
#define MAC_ADDRL (3)
#define MAC_CR_RX_ENABLE (1u << 2)
#define MAC_CR_TX_ENABLE (1u << 3)

#define HW_CFG_RESET (1u << 0)
#define TX_CFG_ON (1u << 1)
#define IRQ_CFG_PUSH_PULL (1u << 0)
#define IRQ_CFG_ACTIVE_HIGH (1u << 4)
#define IRQ_CFG_ENABLE (1u << 8)
#define INT_RX_STATUS (1u << 3)

#define RX_STATUS_COUNT(fifo_inf) ((fifo_inf) >> 16 & 0xff)
#define RX_STATUS_LENGTH(status) ((status) >> 16 & 0x3fff)
#define RX_STATUS_ERROR (1u << 15)
#define TX_STATUS_COUNT(fifo_inf) ((fifo_inf) >> 16 & 0xff)
#define TX_FREE(fifo_inf) ((fifo_inf) & 0xffff)
#define TX_COMMAND_FIRST (1u << 13)
#define TX_COMMAND_LAST (1u << 12)
#define CRC_SIZE (4)

static lan_hook_t received; // called when a frame has come

static uint32_t csr_read(uint32_t number) {
    LAN_MAC_CSR_CMD = CSR_BUSY | CSR_READ | number;
    while (LAN_MAC_CSR_CMD & CSR_BUSY) {
    }
    return LAN_MAC_CSR_DATA;
}

static void csr_write(uint32_t number, uint32_t value) {
    LAN_MAC_CSR_DATA = value;
    LAN_MAC_CSR_CMD = CSR_BUSY | number;
    while (LAN_MAC_CSR_CMD & CSR_BUSY) {
    }
}

void lan_init(void) {
    LAN_HW_CFG = HW_CFG_RESET;
    while (LAN_HW_CFG & HW_CFG_RESET) {
    }
}

void lan_mac(uint8_t mac[6]) {
    uint32_t low = csr_read(MAC_ADDRL);
    uint32_t high = csr_read(MAC_ADDRH);
    for (int i = 0; i < 4; i++) {
        mac[i] = (uint8_t)(low >> (8 * i));
    }
    mac[4] = (uint8_t)high;
    mac[5] = (uint8_t)(high >> 8);
}

void lan_start(lan_hook_t on_receive) {
    received = on_receive;
    LAN_TX_CFG = TX_CFG_ON;
    LAN_FIFO_INT = 0; // interrupt as soon as one received frame waits
    LAN_INT_STS = INT_RX_STATUS;
    LAN_INT_EN = INT_RX_STATUS;
    LAN_IRQ_CFG = IRQ_CFG_ENABLE | IRQ_CFG_ACTIVE_HIGH | IRQ_CFG_PUSH_PULL;
    csr_write(MAC_CR, MAC_CR_TX_ENABLE | MAC_CR_RX_ENABLE);
    NVIC_ISER = 1u << IRQ_ETHERNET;
}

void lan_stop(void) {
    NVIC_ICER = 1u << IRQ_ETHERNET;
    LAN_INT_EN = 0;
    csr_write(MAC_CR, 0);
    LAN_TX_CFG = 0;
}

// The frames themselves are fetched later, outside the interrupt; until then the line is kept quiet.
void Ethernet_Handler(void) {
    random_stir(LAN_RX_FIFO_INF);
    LAN_INT_STS = INT_RX_STATUS;
    received();
}

// The next received frame; its length in bytes, 0 when there is none.
size_t lan_receive(uint32_t frame[LAN_FRAME_MAX / 4]) {
    while (RX_STATUS_COUNT(LAN_RX_FIFO_INF)) {
        uint32_t status = LAN_RX_STATUS;
        size_t length = RX_STATUS_LENGTH(status);
        bool good = !(status & RX_STATUS_ERROR) && length > CRC_SIZE && length <= LAN_FRAME_MAX;
        for (size_t word = 0; word < (length + 3) / 4; word++) {
            uint32_t data = LAN_RX_DATA;
            if (good) {
                frame[word] = data;
            }
        }
        if (good) {
            return length - CRC_SIZE;
        }
    }
    return 0;
}

// Whether the frame was taken; the controller refuses while its FIFO is full.
bool lan_send(const uint32_t frame[LAN_FRAME_MAX / 4], size_t length) {
    while (TX_STATUS_COUNT(LAN_TX_FIFO_INF)) {
        (void)LAN_TX_STATUS; // nobody asks how earlier frames went, but their reports would fill the FIFO
    }
    if (length > LAN_FRAME_MAX || TX_FREE(LAN_TX_FIFO_INF) < length + 12) {
        return false;
    }
    LAN_TX_DATA = TX_COMMAND_FIRST | TX_COMMAND_LAST | length;
    LAN_TX_DATA = length;
    for (size_t word = 0; word < (length + 3) / 4; word++) {
        LAN_TX_DATA = frame[word];
    }
    return true;
}
