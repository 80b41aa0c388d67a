// The module mps2: Flash, the block device that carries littlefs.

#include <string.h>

#include "py/mperrno.h"
#include "py/runtime.h"
#include "extmod/vfs.h"

#include "board.h"
#include "frozen.h"
#include "tls.h"
#include "storage_layout.h"

#define BLOCK_COUNT (STORAGE_LITTLEFS_SIZE / STORAGE_SECTOR)

static const mp_obj_type_t flash_type;
static const mp_obj_base_t flash_obj = { &flash_type };

static mp_obj_t flash_make_new(const mp_obj_type_t *type, size_t n_args, size_t n_kw, const mp_obj_t *args) {
    mp_arg_check_num(n_args, n_kw, 0, 0, false);
    return MP_OBJ_FROM_PTR(&flash_obj);
}

// The offset in the storage of `length` bytes at `block_in` + `offset_in`; raises when they are not within the volume.
static uint32_t place(mp_obj_t block_in, mp_obj_t offset_in, size_t length) {
    mp_int_t block = mp_obj_get_int(block_in);
    mp_int_t offset = mp_obj_get_int(offset_in);
    if (block < 0 || block >= (mp_int_t)BLOCK_COUNT || offset < 0 || offset >= (mp_int_t)STORAGE_SECTOR
        || length > STORAGE_LITTLEFS_SIZE - (block * STORAGE_SECTOR + offset)) {
        mp_raise_OSError(MP_EINVAL);
    }
    return STORAGE_LITTLEFS_OFFSET + block * STORAGE_SECTOR + offset;
}

static mp_obj_t flash_readblocks(size_t n_args, const mp_obj_t *args) {
    mp_buffer_info_t buffer;
    mp_get_buffer_raise(args[2], &buffer, MP_BUFFER_WRITE);
    uint32_t from = place(args[1], n_args == 4 ? args[3] : MP_OBJ_NEW_SMALL_INT(0), buffer.len);
    memcpy(buffer.buf, flash_map(from), buffer.len);
    return MP_OBJ_NEW_SMALL_INT(0);
}
static MP_DEFINE_CONST_FUN_OBJ_VAR_BETWEEN(flash_readblocks_obj, 3, 4, flash_readblocks);

// With an offset (the extended interface) the caller has erased; without, whole blocks are erased and written.
static mp_obj_t flash_writeblocks(size_t n_args, const mp_obj_t *args) {
    mp_buffer_info_t buffer;
    mp_get_buffer_raise(args[2], &buffer, MP_BUFFER_READ);
    uint32_t to = place(args[1], n_args == 4 ? args[3] : MP_OBJ_NEW_SMALL_INT(0), buffer.len);
    if (n_args == 3) {
        if (buffer.len % STORAGE_SECTOR) {
            mp_raise_OSError(MP_EINVAL);
        }
        flash_erase(to, buffer.len);
    }
    flash_write(to, buffer.buf, buffer.len);
    return MP_OBJ_NEW_SMALL_INT(0);
}
static MP_DEFINE_CONST_FUN_OBJ_VAR_BETWEEN(flash_writeblocks_obj, 3, 4, flash_writeblocks);

static mp_obj_t flash_ioctl(mp_obj_t self_in, mp_obj_t command_in, mp_obj_t argument) {
    switch (mp_obj_get_int(command_in)) {
        case MP_BLOCKDEV_IOCTL_INIT:
        case MP_BLOCKDEV_IOCTL_DEINIT:
        case MP_BLOCKDEV_IOCTL_SYNC: // every write is in the storage when it returns
            return MP_OBJ_NEW_SMALL_INT(0);
        case MP_BLOCKDEV_IOCTL_BLOCK_COUNT:
            return MP_OBJ_NEW_SMALL_INT(BLOCK_COUNT);
        case MP_BLOCKDEV_IOCTL_BLOCK_SIZE:
            return MP_OBJ_NEW_SMALL_INT(STORAGE_SECTOR);
        case MP_BLOCKDEV_IOCTL_BLOCK_ERASE:
            flash_erase(place(argument, MP_OBJ_NEW_SMALL_INT(0), STORAGE_SECTOR), STORAGE_SECTOR);
            return MP_OBJ_NEW_SMALL_INT(0);
        default:
            return mp_const_none;
    }
}
static MP_DEFINE_CONST_FUN_OBJ_3(flash_ioctl_obj, flash_ioctl);

static const mp_rom_map_elem_t flash_locals_table[] = {
    { MP_ROM_QSTR(MP_QSTR_readblocks), MP_ROM_PTR(&flash_readblocks_obj) },
    { MP_ROM_QSTR(MP_QSTR_writeblocks), MP_ROM_PTR(&flash_writeblocks_obj) },
    { MP_ROM_QSTR(MP_QSTR_ioctl), MP_ROM_PTR(&flash_ioctl_obj) },
};
static MP_DEFINE_CONST_DICT(flash_locals, flash_locals_table);

static MP_DEFINE_CONST_OBJ_TYPE(
    flash_type, MP_QSTR_Flash, MP_TYPE_FLAG_NONE, make_new, flash_make_new, locals_dict, &flash_locals);

// know_time(seconds since 1970): it is at least then. Certificates are checked against the latest that was said.
static mp_obj_t mps2_know_time(mp_obj_t seconds) {
    tls_know_time((int64_t)(uint32_t)mp_obj_get_int_truncated(seconds));
    return mp_const_none;
}
static MP_DEFINE_CONST_FUN_OBJ_1(mps2_know_time_obj, mps2_know_time);

// tls_memory() -> (size, used, peak since the last call) of the memory TLS has for itself, in bytes.
static mp_obj_t mps2_tls_memory(void) {
    tls_memory_t memory = tls_memory();
    mp_obj_t items[] = {
        mp_obj_new_int_from_uint(memory.size),
        mp_obj_new_int_from_uint(memory.used),
        mp_obj_new_int_from_uint(memory.peak),
    };
    return mp_obj_new_tuple(MP_ARRAY_SIZE(items), items);
}
static MP_DEFINE_CONST_FUN_OBJ_0(mps2_tls_memory_obj, mps2_tls_memory);

// fault() -> what the core was at when a fault or the watchdog ended the last run, one line; None if nothing did.
static mp_obj_t mps2_fault(void) {
    const fault_t *fault = fault_last();
    if (fault == NULL) {
        return mp_const_none;
    }
    vstr_t text;
    vstr_init(&text, 96);
    vstr_printf(&text, "exception %u, pc %08x, lr %08x, psr %08x, cfsr %08x, hfsr %08x, address %08x",
        (unsigned)fault->exception, (unsigned)fault->pc, (unsigned)fault->lr, (unsigned)fault->psr,
        (unsigned)fault->cfsr, (unsigned)fault->hfsr, (unsigned)fault->address);
    return mp_obj_new_str_from_vstr(&text);
}
static MP_DEFINE_CONST_FUN_OBJ_0(mps2_fault_obj, mps2_fault);

// frozen() -> digest of the modules of Tidegate that this firmware holds, 8 bytes; None if it holds none.
__attribute__((weak)) const byte *frozen_digest(void) {
    return NULL;
}

static mp_obj_t mps2_frozen(void) {
    const byte *digest = frozen_digest();
    return digest == NULL ? mp_const_none : mp_obj_new_bytes(digest, FROZEN_DIGEST_SIZE);
}
static MP_DEFINE_CONST_FUN_OBJ_0(mps2_frozen_obj, mps2_frozen);

static const mp_rom_map_elem_t mps2_globals_table[] = {
    { MP_ROM_QSTR(MP_QSTR___name__), MP_ROM_QSTR(MP_QSTR_mps2) },
    { MP_ROM_QSTR(MP_QSTR_know_time), MP_ROM_PTR(&mps2_know_time_obj) },
    { MP_ROM_QSTR(MP_QSTR_tls_memory), MP_ROM_PTR(&mps2_tls_memory_obj) },
    { MP_ROM_QSTR(MP_QSTR_fault), MP_ROM_PTR(&mps2_fault_obj) },
    { MP_ROM_QSTR(MP_QSTR_frozen), MP_ROM_PTR(&mps2_frozen_obj) },
    { MP_ROM_QSTR(MP_QSTR_Flash), MP_ROM_PTR(&flash_type) },
};
static MP_DEFINE_CONST_DICT(mps2_globals, mps2_globals_table);

const mp_obj_module_t mps2_module = {
    .base = { &mp_type_module },
    .globals = (mp_obj_dict_t *)&mps2_globals,
};

MP_REGISTER_MODULE(MP_QSTR_mps2, mps2_module);
