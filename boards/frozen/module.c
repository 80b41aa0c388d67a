// The module `_tidegate` of a firmware that holds the agent, on ports that have no module of ours.

#include "py/obj.h"
#include "py/runtime.h"

#include "frozen.h"

// frozen() -> digest of the modules of Tidegate that this firmware holds, 8 bytes.
static mp_obj_t tidegate_frozen(void) {
    return mp_obj_new_bytes(frozen_digest(), FROZEN_DIGEST_SIZE);
}
static MP_DEFINE_CONST_FUN_OBJ_0(tidegate_frozen_obj, tidegate_frozen);

static const mp_rom_map_elem_t tidegate_globals_table[] = {
    { MP_ROM_QSTR(MP_QSTR___name__), MP_ROM_QSTR(MP_QSTR__tidegate) },
    { MP_ROM_QSTR(MP_QSTR_frozen), MP_ROM_PTR(&tidegate_frozen_obj) },
};
static MP_DEFINE_CONST_DICT(tidegate_globals, tidegate_globals_table);

const mp_obj_module_t tidegate_module = {
    .base = { &mp_type_module },
    .globals = (mp_obj_dict_t *)&tidegate_globals,
};

MP_REGISTER_MODULE(MP_QSTR__tidegate, tidegate_module);
