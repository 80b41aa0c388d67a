// The persistent storage with the manners of NOR flash, so that code which forgets to erase, or writes twice, fails
// here as it would on a real chip.

#include <string.h>

#include "board.h"
#include "storage_layout.h"

const uint8_t *flash_map(uint32_t offset) {
    return (const uint8_t *)(STORAGE_BASE + offset);
}

void flash_erase(uint32_t offset, uint32_t length) {
    uint32_t *wear = (uint32_t *)(STORAGE_BASE + STORAGE_WEAR_OFFSET);
    for (uint32_t at = offset; at < offset + length && at < STORAGE_WEAR_OFFSET; at += STORAGE_SECTOR) {
        wear[at / STORAGE_SECTOR]++;
    }
    memset((void *)(STORAGE_BASE + offset), 0xff, length);
}

void flash_write(uint32_t offset, const void *data, uint32_t length) {
    volatile uint8_t *to = (volatile uint8_t *)(STORAGE_BASE + offset);
    const uint8_t *from = data;
    for (uint32_t i = 0; i < length; i++) {
        to[i] &= from[i];
    }
}
