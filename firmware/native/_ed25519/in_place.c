// The code of in_place.py: verifies signatures from wherever it lies, and has no data but what is in it.

#include <stddef.h>
#include <stdint.h>

#define CALLED_BY_THE_COMPILER __attribute__((used, externally_visible))

#include "valid.h"

// At the beginning of the code (../in_place.ld): parts are the key's 32 bytes and the signature's 64.
__attribute__((section(".entry"), used, externally_visible)) int verify(const uint8_t *parts, const uint8_t *message, size_t size) {
    return valid(parts, message, size, parts + 32);
}

// What the compiler makes calls of by itself. Written so that it does not make calls of them of these, too (see the
// Makefile), and as a backward copy where the areas overlap that way.
CALLED_BY_THE_COMPILER void *memmove(void *to, const void *from, size_t size) {
    uint8_t *t = to;
    const uint8_t *f = from;
    if (t <= f) {
        while (size--) {
            *t++ = *f++;
        }
    } else {
        while (size--) {
            t[size] = f[size];
        }
    }
    return to;
}

CALLED_BY_THE_COMPILER void *memcpy(void *to, const void *from, size_t size) __attribute__((alias("memmove")));

CALLED_BY_THE_COMPILER void *memset(void *to, int value, size_t size) {
    uint8_t *t = to;
    while (size--) {
        *t++ = (uint8_t)value;
    }
    return to;
}
