// What the rest of the port asks of TLS.

#ifndef TIDEGATE_TLS_H
#define TIDEGATE_TLS_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    size_t size; // of the arena, bytes; 0 when TLS takes its memory from MicroPython's heap
    size_t used;
    size_t peak; // since the last tls_memory()
} tls_memory_t;

void tls_init(void);
void tls_know_time(int64_t seconds); // "it is at least then": seconds since 1970
int64_t tls_time(int64_t *to);
tls_memory_t tls_memory(void);

#endif
