// What compilers make calls of by themselves, by way of MicroPython's table: a native module is linked with no C
// library. Needs py/dynruntime.h.

#define CALLED_BY_THE_COMPILER __attribute__((used, externally_visible))

CALLED_BY_THE_COMPILER void *memmove(void *to, const void *from, size_t size) {
    return mp_fun_table.memmove_(to, from, size);
}

// Another name of memmove, never a second function with the same body: of two, GCC's -fipa-icf makes memmove a call of
// memcpy, knows of memcpy that its areas do not overlap, and puts a forward copy in the place of both. tools/native.py
// checks the object for it.
CALLED_BY_THE_COMPILER void *memcpy(void *to, const void *from, size_t size) __attribute__((alias("memmove")));

CALLED_BY_THE_COMPILER void *memset(void *to, int value, size_t size) {
    return mp_fun_table.memset_(to, value, size);
}
