// What compilers make calls of by themselves, by way of MicroPython's table: a native module is linked with no C
// library. Needs py/dynruntime.h.

#define CALLED_BY_THE_COMPILER __attribute__((used, externally_visible))

CALLED_BY_THE_COMPILER void *memcpy(void *to, const void *from, size_t size) {
    return mp_fun_table.memmove_(to, from, size);
}

CALLED_BY_THE_COMPILER void *memmove(void *to, const void *from, size_t size) {
    return mp_fun_table.memmove_(to, from, size);
}

CALLED_BY_THE_COMPILER void *memset(void *to, int value, size_t size) {
    return mp_fun_table.memset_(to, value, size);
}
