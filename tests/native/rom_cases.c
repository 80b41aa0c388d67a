// "NUMBERS DATA - -": a call of vfs.rom_ioctl with numbers of 32 bits, the data in the place of the fourth of a write.
// Flash is a buffer of the segment's size: what goes beside it is seen. Prints the result.

#include <string.h>

#include "../../boards/qemu_mps2/src/rom.c"

#include "cases.h"

static uint8_t *segment;

void flash_erase(uint32_t offset, uint32_t length) {
    memset(segment + (offset - STORAGE_ROM_OFFSET), 0xff, length);
}

void flash_write(uint32_t offset, const void *data, uint32_t length) {
    for (uint32_t i = 0; i < length; i++) {
        segment[offset - STORAGE_ROM_OFFSET + i] &= ((const uint8_t *)data)[i];
    }
}

int main(void) {
    mp_buffer_info_t fields[FIELDS];
    segment = malloc(STORAGE_ROM_SIZE);
    memset(segment, 0xff, STORAGE_ROM_SIZE);
    while (next_case(fields)) {
        object_t objects[4] = {{0}};
        mp_obj_t given[4];
        size_t count = fields[0].len / 4 < 4 ? fields[0].len / 4 : 4;
        for (size_t i = 0; i < 4; i++) {
            if (i < count) {
                memcpy(&objects[i].number, (uint8_t *)fields[0].buf + 4 * i, 4);
            }
            objects[i].buffer = &fields[1];
            given[i] = &objects[i];
        }
        printf("%d\n", count ? (int)mp_vfs_rom_ioctl(count, given)->number : 0);
        fflush(stdout);
        free_case(fields);
    }
    free(segment);
    return 0;
}
