// Where things are in the board's persistent storage: 16 MiB of PSRAM backed by a file, treated as NOR flash:
// an erase sets a sector to 0xff, a write can only clear bits. The host tools read the same numbers in board.toml.

#ifndef TIDEGATE_STORAGE_LAYOUT_H
#define TIDEGATE_STORAGE_LAYOUT_H

#include "mps2.h"

#define STORAGE_BASE MPS2_PSRAM
#define STORAGE_SIZE (16u * 1024 * 1024)
#define STORAGE_SECTOR (4096u)

// The littlefs volume, mounted at /.
#define STORAGE_LITTLEFS_OFFSET (0x000000u)
#define STORAGE_LITTLEFS_SIZE (1024u * 1024)

// ROM segment 0, for vfs.rom_ioctl: memory mapped, code in it runs in place.
#define STORAGE_ROM_OFFSET (0x100000u)
#define STORAGE_ROM_SIZE (1024u * 1024)

// The seed of os.urandom, in two sectors written alternately.
#define STORAGE_SEED_OFFSET (0x200000u)
#define STORAGE_SEED_SIZE (2 * STORAGE_SECTOR)

// How often each sector before this was erased since the storage was made: a number of 32 bits each, one less, so that
// erased storage reads as none. For measurements; no real flash tells.
#define STORAGE_WEAR_OFFSET (0x202000u)
#define STORAGE_WEAR_SIZE STORAGE_SECTOR

#endif
