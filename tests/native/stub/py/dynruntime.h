// What a native module takes of MicroPython's py/dynruntime.h, for a program of this machine: an object is a buffer,
// and what raises jumps back to the caller. Buffers are allocated to the byte, so that AddressSanitizer sees their ends.

#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// libc.h defines what compilers call by themselves; here it gets names of its own, beside this machine's library.
#define memmove native_memmove
#define memcpy native_memcpy
#define memset native_memset
#define alias(name) unused

typedef struct {
    void *buf;
    size_t len;
} mp_buffer_info_t;
typedef mp_buffer_info_t *mp_obj_t;
typedef struct {
    int unused;
} mp_obj_fun_bc_t;

static mp_buffer_info_t object_none, object_false, object_true;
static jmp_buf raised;
static const char *raised_text;

#define mp_const_none (&object_none)
#define mp_const_false (&object_false)
#define mp_const_true (&object_true)
#define MP_BUFFER_READ (1)
#define MP_BUFFER_WRITE (2)
#define MP_BUFFER_RW (3)
#define MP_ERROR_TEXT(text) text
#define MP_OBJ_FROM_PTR(pointer) ((mp_obj_t)(pointer))
#define MP_DEFINE_CONST_FUN_OBJ_3(name, function) \
    mp_obj_t (*const name)(mp_obj_t, mp_obj_t, mp_obj_t) = function
#define MP_DEFINE_CONST_FUN_OBJ_VAR_BETWEEN(name, least, most, function) \
    mp_obj_t (*const name)(size_t, const mp_obj_t *) = function
#define MP_DYNRUNTIME_INIT_ENTRY
#define MP_DYNRUNTIME_INIT_EXIT return mp_const_none;
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

enum { MP_QSTR_step, MP_QSTR_literal, MP_QSTR_verify };

static void mp_get_buffer_raise(mp_obj_t object, mp_buffer_info_t *found, int flags) {
    (void)flags;
    *found = *object;
}

__attribute__((noreturn, unused)) static void mp_raise_ValueError(const char *text) {
    raised_text = text;
    longjmp(raised, 1);
}

__attribute__((unused)) static mp_obj_t mp_obj_new_bool(int value) {
    return value ? mp_const_true : mp_const_false;
}

static void mp_store_global(int name, mp_obj_t object) {
    (void)name;
    (void)object;
}

static struct {
    void *(*memmove_)(void *, const void *, size_t);
    void *(*memset_)(void *, int, size_t);
} mp_fun_table = {__builtin_memmove, __builtin_memset};
