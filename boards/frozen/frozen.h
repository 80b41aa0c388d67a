// What a firmware that holds the agent says of it.

#ifndef TIDEGATE_FROZEN_H
#define TIDEGATE_FROZEN_H

#include <stdint.h>

#define FROZEN_DIGEST_SIZE (8)

// frozen.c: the digest of all modules that it holds.
const uint8_t *frozen_digest(void);

#endif
