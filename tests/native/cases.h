// Reads a case a line from standard input: hex fields with one space between them, "-" for an empty one.

#undef memmove
#undef memcpy
#undef memset
#undef alias
#include <stdio.h>
#include <stdlib.h>

#define FIELDS (4)
#define LINE (1 << 20)

__attribute__((unused)) void *native_memcpy(void *to, const void *from, size_t size) {
    return __builtin_memmove(to, from, size);
}

static int nibble(int c) {
    return c <= '9' ? c - '0' : c - 'a' + 10;
}

// The fields of the next line in buffers of exactly their size; false at the end of the input.
static bool next_case(mp_buffer_info_t fields[FIELDS]) {
    static char line[LINE];
    if (!fgets(line, sizeof(line), stdin)) {
        return false;
    }
    const char *at = line;
    for (int i = 0; i < FIELDS; i++) {
        const char *end = at;
        while (*end > ' ') {
            end++;
        }
        fields[i].len = *at == '-' ? 0 : (size_t)(end - at) / 2;
        fields[i].buf = malloc(fields[i].len ? fields[i].len : 1);
        for (size_t k = 0; k < fields[i].len; k++) {
            ((uint8_t *)fields[i].buf)[k] = (uint8_t)(nibble(at[2 * k]) << 4 | nibble(at[2 * k + 1]));
        }
        at = *end == ' ' ? end + 1 : end;
    }
    return true;
}

static void free_case(mp_buffer_info_t fields[FIELDS]) {
    for (int i = 0; i < FIELDS; i++) {
        free(fields[i].buf);
    }
}
