// os.urandom: SHA-256 in counter mode over a key that never leaves this file.
//
// Neither board nor emulator has an entropy source. The key comes from a seed kept in storage (put there when the
// storage is made, as a factory would; replaced at each boot before a single byte is given out, so that no boot repeats
// another), the MAC address, and the moments at which the host's scheduling lets things happen. README.md says what that
// is good for and what not.

#include <string.h>

#include "py/mphal.h"
#include "py/runtime.h"
#include "lib/crypto-algorithms/sha256.h"

#include "board.h"
#include "mps2.h"
#include "storage_layout.h"

#define HASH_SIZE (32)
#define JITTER_SAMPLES (64)

// A sector of the seed area. `check` is the start of SHA-256(counter, seed): a sector torn by a power cut is not used.
typedef struct {
    uint32_t counter;
    uint8_t seed[HASH_SIZE];
    uint32_t check;
} seed_record_t;

static uint8_t key[HASH_SIZE];
static uint32_t blocks_made;
static volatile uint32_t pool[4]; // events since the last request, mixed cheaply because interrupts do it
static volatile uint32_t pool_at;

static void hash_start(CRYAL_SHA256_CTX *hash, const char *purpose) {
    sha256_init(hash);
    sha256_update(hash, (const BYTE *)purpose, strlen(purpose));
}

static void hash_clock(CRYAL_SHA256_CTX *hash) {
    uint64_t now = clock_count();
    sha256_update(hash, (const BYTE *)&now, sizeof(now));
}

void random_stir(uint32_t event) {
    uint32_t at = pool_at;
    uint32_t mixed = pool[at] ^ event ^ SYST_CVR ^ LAN_FREE_RUN;
    pool[at] = (mixed << 7 | mixed >> 25) * 0x9e3779b1u;
    pool_at = (at + 1) % MP_ARRAY_SIZE(pool);
}

static uint32_t seed_check(const seed_record_t *record) {
    CRYAL_SHA256_CTX hash;
    BYTE digest[HASH_SIZE];
    hash_start(&hash, "check");
    sha256_update(&hash, (const BYTE *)record, offsetof(seed_record_t, check));
    sha256_final(&hash, digest);
    uint32_t check;
    memcpy(&check, digest, sizeof(check));
    return check;
}

static const seed_record_t *seed_sector(int number) {
    return (const seed_record_t *)flash_map(STORAGE_SEED_OFFSET + number * STORAGE_SECTOR);
}

// The number of the sector with the newest good seed, -1 when there is none.
static int newest_seed(void) {
    int newest = -1;
    for (int number = 0; number < 2; number++) {
        const seed_record_t *record = seed_sector(number);
        if (record->check == seed_check(record)
            && (newest < 0 || (int32_t)(record->counter - seed_sector(newest)->counter) > 0)) {
            newest = number;
        }
    }
    return newest;
}

static void replace_seed(int newest, const uint8_t seed[HASH_SIZE]) {
    seed_record_t record = { .counter = newest < 0 ? 0 : seed_sector(newest)->counter + 1 };
    memcpy(record.seed, seed, HASH_SIZE);
    record.check = seed_check(&record);
    uint32_t to = STORAGE_SEED_OFFSET + (newest == 0 ? STORAGE_SECTOR : 0);
    flash_erase(to, STORAGE_SECTOR);
    flash_write(to, &record, sizeof(record));
}

void random_init(void) {
    CRYAL_SHA256_CTX hash;
    uint8_t boot[HASH_SIZE];
    int newest = newest_seed();
    hash_start(&hash, "boot");
    // Also when no seed is valid: a torn or foreign sector can only add.
    for (int number = 0; number < 2; number++) {
        sha256_update(&hash, (const BYTE *)seed_sector(number), sizeof(seed_record_t));
    }
    uint8_t mac[6];
    lan_mac(mac);
    sha256_update(&hash, mac, sizeof(mac));
    for (int i = 0; i < JITTER_SAMPLES; i++) {
        uint32_t sample[2] = { SYST_CVR, LAN_FREE_RUN };
        sha256_update(&hash, (const BYTE *)sample, sizeof(sample));
    }
    hash_clock(&hash);
    sha256_final(&hash, boot);

    uint8_t seed[HASH_SIZE];
    hash_start(&hash, "seed");
    sha256_update(&hash, boot, HASH_SIZE);
    sha256_final(&hash, seed);
    replace_seed(newest, seed);

    hash_start(&hash, "key");
    sha256_update(&hash, boot, HASH_SIZE);
    sha256_final(&hash, key);
}

void random_fill(void *data, size_t length) {
    CRYAL_SHA256_CTX hash;
    uint8_t block[HASH_SIZE];
    for (uint8_t *to = data; length > 0;) {
        size_t part = MIN(length, sizeof(block));
        hash_start(&hash, "out");
        sha256_update(&hash, key, HASH_SIZE);
        blocks_made++;
        sha256_update(&hash, (const BYTE *)&blocks_made, sizeof(blocks_made));
        sha256_final(&hash, block);
        memcpy(to, block, part);
        to += part;
        length -= part;
    }
    // A new key from the old one, so that what was given out cannot be computed from what is in RAM later.
    hash_start(&hash, "next");
    sha256_update(&hash, key, HASH_SIZE);
    for (size_t i = 0; i < MP_ARRAY_SIZE(pool); i++) {
        uint32_t events = pool[i];
        sha256_update(&hash, (const BYTE *)&events, sizeof(events));
    }
    hash_clock(&hash);
    sha256_final(&hash, key);
}

uint32_t random_u32(void) {
    uint32_t value;
    random_fill(&value, sizeof(value));
    return value;
}
