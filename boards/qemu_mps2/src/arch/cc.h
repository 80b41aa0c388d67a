// lwIP's view of the compiler. lwIP takes its types from stdint.h by itself; only this is left to say.

#ifndef TIDEGATE_ARCH_CC_H
#define TIDEGATE_ARCH_CC_H

#include <stdint.h>

// The functions of ctype.h would be newlib's, and nothing else here needs newlib.
#define LWIP_NO_CTYPE_H 1

// A broken invariant inside lwIP is a fault like any other: report and reset, never go on.
#define LWIP_PLATFORM_ASSERT(message) __builtin_trap()
#define LWIP_PLATFORM_DIAG(message)

#define LWIP_CHKSUM_ALGORITHM 3

// MicroPython defines lwIP's protection functions even where lwIP is built without protection.
typedef uint32_t sys_prot_t;

#endif
