// The Pico with a ROM segment behind its program: boot record and two slots, executed in place. What MicroPython itself
// may have is the rest of the 2048 KiB, 640 KiB. The file system has the size that boards/common/rp2/_boot.py knows.
#define MICROPY_HW_BOARD_NAME          "Raspberry Pi Pico"
#define MICROPY_HW_FLASH_STORAGE_BYTES (368 * 1024)
#define MICROPY_HW_ROMFS_BYTES         (1040 * 1024)
