// vfs.rom_ioctl: one ROM segment, memory mapped, written like NOR flash. The operations of MicroPython 1.25, and the
// two that came with 1.29: preparing (erasing) piece by piece, and asking for the smallest piece.

#include "py/mperrno.h"
#include "py/objarray.h"
#include "py/runtime.h"
#include "extmod/vfs.h"

#include "board.h"
#include "storage_layout.h"

#define IOCTL_ERASE_SIZE (6)
#define WRITE_SIZE (1) // any number of bytes, at any place

static const MP_DEFINE_MEMORYVIEW_OBJ(
    segment_obj, 'B', 0, STORAGE_ROM_SIZE, (void *)(STORAGE_BASE + STORAGE_ROM_OFFSET));

static bool within_segment(mp_int_t offset, size_t length) {
    return offset >= 0 && offset <= (mp_int_t)STORAGE_ROM_SIZE && length <= STORAGE_ROM_SIZE - offset;
}

// (3, id, length) erases from the start, (3, id, offset, length) a piece. Whole sectors are erased; the start of a
// piece must be one's. Returns the granularity of writes.
static mp_int_t prepare(size_t n_args, const mp_obj_t *args) {
    mp_int_t offset = n_args == 4 ? mp_obj_get_int(args[2]) : 0;
    mp_int_t length = mp_obj_get_int(args[n_args - 1]);
    if (length < 0 || offset % (mp_int_t)STORAGE_SECTOR || !within_segment(offset, length)) {
        return -MP_EINVAL;
    }
    uint32_t whole = (length + STORAGE_SECTOR - 1) / STORAGE_SECTOR * STORAGE_SECTOR;
    flash_erase(STORAGE_ROM_OFFSET + offset, whole);
    return WRITE_SIZE;
}

static mp_int_t write(const mp_obj_t *args) {
    mp_int_t offset = mp_obj_get_int(args[2]);
    mp_buffer_info_t buffer;
    mp_get_buffer_raise(args[3], &buffer, MP_BUFFER_READ);
    if (!within_segment(offset, buffer.len)) {
        return -MP_EINVAL;
    }
    flash_write(STORAGE_ROM_OFFSET + offset, buffer.buf, buffer.len);
    return 0;
}

mp_obj_t mp_vfs_rom_ioctl(size_t n_args, const mp_obj_t *args) {
    mp_int_t command = mp_obj_get_int(args[0]);
    mp_int_t result = -MP_EINVAL;
    if (command == MP_VFS_ROM_IOCTL_GET_NUMBER_OF_SEGMENTS) {
        result = 1;
    } else if (n_args >= 2 && mp_obj_get_int(args[1]) == 0) {
        if (command == MP_VFS_ROM_IOCTL_GET_SEGMENT) {
            return MP_OBJ_FROM_PTR(&segment_obj);
        } else if (command == MP_VFS_ROM_IOCTL_WRITE_PREPARE && n_args >= 3) {
            result = prepare(n_args, args);
        } else if (command == MP_VFS_ROM_IOCTL_WRITE && n_args == 4) {
            result = write(args);
        } else if (command == MP_VFS_ROM_IOCTL_WRITE_COMPLETE) {
            result = 0;
        } else if (command == IOCTL_ERASE_SIZE) {
            result = STORAGE_SECTOR;
        }
    }
    return MP_OBJ_NEW_SMALL_INT(result);
}
