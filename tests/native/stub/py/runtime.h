// What boards/qemu_mps2/src/rom.c takes of MicroPython, for a program of this machine: an object is a number, or the
// buffer of a case.

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    void *buf;
    size_t len;
} mp_buffer_info_t;
typedef int32_t mp_int_t;  // as on the board
typedef struct {
    mp_int_t number;
    mp_buffer_info_t *buffer;
} object_t;
typedef const object_t *mp_obj_t;

static object_t result_object;

#define MP_EINVAL (22)
#define MP_BUFFER_READ (1)
#define MP_VFS_ROM_IOCTL_GET_NUMBER_OF_SEGMENTS (1)
#define MP_VFS_ROM_IOCTL_GET_SEGMENT (2)
#define MP_VFS_ROM_IOCTL_WRITE_PREPARE (3)
#define MP_VFS_ROM_IOCTL_WRITE (4)
#define MP_VFS_ROM_IOCTL_WRITE_COMPLETE (5)
#define MP_DEFINE_MEMORYVIEW_OBJ(name, code, offset, size, place) object_t name = {(mp_int_t)(size), NULL}
#define MP_OBJ_FROM_PTR(pointer) (pointer)
#define MP_OBJ_NEW_SMALL_INT(value) (result_object.number = (value), &result_object)

static mp_int_t mp_obj_get_int(mp_obj_t object) {
    return object->number;
}

static void mp_get_buffer_raise(mp_obj_t object, mp_buffer_info_t *found, int flags) {
    (void)flags;
    *found = *object->buffer;
}
