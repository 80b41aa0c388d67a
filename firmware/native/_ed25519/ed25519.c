// The native module _ed25519: verify(public_key, message, signature) -> bool.

#include "py/dynruntime.h"

#include "../libc.h"

#include "valid.h"

static mp_obj_t verify(mp_obj_t key_in, mp_obj_t message_in, mp_obj_t signature_in) {
    mp_buffer_info_t key, message, signature;
    mp_get_buffer_raise(key_in, &key, MP_BUFFER_READ);
    mp_get_buffer_raise(message_in, &message, MP_BUFFER_READ);
    mp_get_buffer_raise(signature_in, &signature, MP_BUFFER_READ);
    if (key.len != 32 || signature.len != 64) {
        return mp_const_false;
    }
    return mp_obj_new_bool(valid(key.buf, message.buf, message.len, signature.buf));
}
static MP_DEFINE_CONST_FUN_OBJ_3(verify_obj, verify);

__attribute__((externally_visible)) mp_obj_t mpy_init(
    mp_obj_fun_bc_t *self, size_t n_args, size_t n_kw, mp_obj_t *args) {
    MP_DYNRUNTIME_INIT_ENTRY
    mp_store_global(MP_QSTR_verify, MP_OBJ_FROM_PTR(&verify_obj));
    MP_DYNRUNTIME_INIT_EXIT
}
