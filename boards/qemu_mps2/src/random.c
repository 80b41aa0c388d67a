// os.urandom: SHA-256 in counter mode over a key that never leaves this file.
//
// The entropy source is UART 1, where the emulator feeds in bytes of the host's own generator; it stands for the
// generator of a real microcontroller. Where nothing feeds it the key still comes from a seed kept in storage (put there
// when the storage is made, as a factory would; replaced at each boot before a single byte is given out, so that no boot
// repeats another), the MAC address, and the moments at which the host's scheduling lets things happen. README.md says
// what that is good for and what not.

#include <string.h>

#include "py/mphal.h"
#include "py/runtime.h"
#include "mbedtls/sha256.h"

#include "board.h"
#include "mps2.h"
#include "storage_layout.h"

#define HASH_SIZE (32)
#define JITTER_SAMPLES (64)
#define SOURCE_BYTES (32) // of the entropy source, at start
#define SOURCE_WAIT_MS (200) // for all of them; nothing may be there
#define SOURCE_WAIT_ALONE_MS (10000) // where there is no seed beside them: a first boot may make a key for life

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

static void hash_add(mbedtls_sha256_context *hash, const void *data, size_t length) {
    mbedtls_sha256_update(hash, data, length);
}

static void hash_end(mbedtls_sha256_context *hash, uint8_t digest[HASH_SIZE]) {
    mbedtls_sha256_finish(hash, digest);
}

static void hash_start(mbedtls_sha256_context *hash, const char *purpose) {
    mbedtls_sha256_init(hash);
    mbedtls_sha256_starts(hash, 0);
    hash_add(hash, purpose, strlen(purpose));
}

static void hash_clock(mbedtls_sha256_context *hash) {
    uint64_t now = clock_count();
    hash_add(hash, &now, sizeof(now));
}

void random_stir(uint32_t event) {
    uint32_t at = pool_at;
    uint32_t mixed = pool[at] ^ event ^ SYST_CVR ^ LAN_FREE_RUN;
    pool[at] = (mixed << 7 | mixed >> 25) * 0x9e3779b1u;
    pool_at = (at + 1) % MP_ARRAY_SIZE(pool);
}

static bool source_ready(void) {
    return UART1_STATE & UART_STATE_RX_FULL;
}

// As many bytes of the entropy source as come in time.
static void hash_source(mbedtls_sha256_context *hash, uint32_t wait_ms) {
    UART1_BAUDDIV = 16;
    UART1_CTRL = UART_CTRL_RX_ENABLE;
    // QEMU asks whether a UART accepts bytes only when its main loop turns; a read makes it turn now, for the console too.
    (void)UART1_DATA;
    uint64_t end = clock_count() + (uint64_t)wait_ms * MPS2_CLOCKS_PER_MS;
    for (int count = 0; count < SOURCE_BYTES && clock_count() < end;) {
        if (source_ready()) {
            uint8_t byte = (uint8_t)UART1_DATA;
            hash_add(hash, &byte, 1);
            count++;
        }
    }
}

static uint32_t seed_check(const seed_record_t *record) {
    mbedtls_sha256_context hash;
    uint8_t digest[HASH_SIZE];
    hash_start(&hash, "check");
    hash_add(&hash, record, offsetof(seed_record_t, check));
    hash_end(&hash, digest);
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

void random_init(const uint8_t mac[6]) {
    mbedtls_sha256_context hash;
    uint8_t boot[HASH_SIZE];
    int newest = newest_seed();
    hash_start(&hash, "boot");
    // Also when no seed is valid: a torn or foreign sector can only add.
    for (int number = 0; number < 2; number++) {
        hash_add(&hash, seed_sector(number), sizeof(seed_record_t));
    }
    hash_source(&hash, newest < 0 ? SOURCE_WAIT_ALONE_MS : SOURCE_WAIT_MS);
    hash_add(&hash, mac, 6);
    for (int i = 0; i < JITTER_SAMPLES; i++) {
        uint32_t sample[2] = { SYST_CVR, LAN_FREE_RUN };
        hash_add(&hash, sample, sizeof(sample));
    }
    hash_clock(&hash);
    hash_end(&hash, boot);

    uint8_t seed[HASH_SIZE];
    hash_start(&hash, "seed");
    hash_add(&hash, boot, HASH_SIZE);
    hash_end(&hash, seed);
    replace_seed(newest, seed);

    hash_start(&hash, "key");
    hash_add(&hash, boot, HASH_SIZE);
    hash_end(&hash, key);
}

void random_fill(void *data, size_t length) {
    if (source_ready()) {
        random_stir(UART1_DATA);
    }
    mbedtls_sha256_context hash;
    uint8_t block[HASH_SIZE];
    for (uint8_t *to = data; length > 0;) {
        size_t part = MIN(length, sizeof(block));
        hash_start(&hash, "out");
        hash_add(&hash, key, HASH_SIZE);
        blocks_made++;
        hash_add(&hash, &blocks_made, sizeof(blocks_made));
        hash_end(&hash, block);
        memcpy(to, block, part);
        to += part;
        length -= part;
    }
    // A new key from the old one, so that what was given out cannot be computed from what is in RAM later.
    hash_start(&hash, "next");
    hash_add(&hash, key, HASH_SIZE);
    for (size_t i = 0; i < MP_ARRAY_SIZE(pool); i++) {
        uint32_t events = pool[i];
        hash_add(&hash, &events, sizeof(events));
    }
    hash_clock(&hash);
    hash_end(&hash, key);
}

uint32_t random_u32(void) {
    uint32_t value;
    random_fill(&value, sizeof(value));
    return value;
}
