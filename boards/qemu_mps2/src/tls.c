// What mbedtls asks of the board (memory, randomness, time), and two of its choices made for every connection.
//
// Time: the board has no clock that outlives a reset, only a lower bound: the release of this MicroPython, or what it was
// told (Board.know_time), plus what has passed since. A certificate that has run out by then has run out. Whether one is
// valid already cannot be known, so a start in the future is forgiven.

#include <string.h>

#include "py/mphal.h"
#include "shared/timeutils/timeutils.h"

#include "mbedtls/memory_buffer_alloc.h"
#include "mbedtls/platform_time.h"
#include "mbedtls/platform_util.h"
#include "mbedtls/ssl.h"

#include "board.h"
#include "tls.h"

#define SECONDS_1970_TO_2000 (946684800LL)

static int64_t time_at_reset = TIDEGATE_BUILT; // at least; seconds since 1970

void tls_know_time(int64_t seconds) {
    int64_t at_reset = seconds - (int64_t)(clock_ms() / 1000);
    if (at_reset > time_at_reset) {
        time_at_reset = at_reset;
    }
}

int64_t tls_time(int64_t *to) {
    int64_t now = time_at_reset + (int64_t)(clock_ms() / 1000);
    if (to != NULL) {
        *to = now;
    }
    return now;
}

mbedtls_ms_time_t mbedtls_ms_time(void) {
    return (mbedtls_ms_time_t)clock_ms();
}

struct tm *mbedtls_platform_gmtime_r(const mbedtls_time_t *seconds, struct tm *to) {
    timeutils_struct_time_t fields;
    timeutils_seconds_since_2000_to_struct_time((mp_uint_t)(*seconds - SECONDS_1970_TO_2000), &fields);
    memset(to, 0, sizeof(*to));
    to->tm_year = fields.tm_year - 1900;
    to->tm_mon = fields.tm_mon - 1;
    to->tm_mday = fields.tm_mday;
    to->tm_hour = fields.tm_hour;
    to->tm_min = fields.tm_min;
    to->tm_sec = fields.tm_sec;
    return to;
}

int mbedtls_hardware_poll(void *data, unsigned char *output, size_t length, size_t *written) {
    random_fill(output, length);
    *written = length;
    return 0;
}

// The arena is damaged: nothing that runs can be trusted to be whole.
void tls_broken(int code) {
    uart_put_polled("\r\nthe memory of TLS is damaged, resetting\r\n");
    reset_now(RESET_FAULT);
}

#if TIDEGATE_TLS_ARENA

static uint8_t arena[TIDEGATE_TLS_ARENA] __attribute__((aligned(8)));

// Once for every life of the interpreter, when nothing of the one before is left.
void tls_init(void) {
    mbedtls_memory_buffer_alloc_init(arena, sizeof(arena));
}

tls_memory_t tls_memory(void) {
    tls_memory_t memory = { .size = sizeof(arena) };
    size_t blocks;
    mbedtls_memory_buffer_alloc_cur_get(&memory.used, &blocks);
    mbedtls_memory_buffer_alloc_max_get(&memory.peak, &blocks);
    mbedtls_memory_buffer_alloc_max_reset();
    return memory;
}

#else

void tls_init(void) {
}

tls_memory_t tls_memory(void) {
    return (tls_memory_t) { 0 };
}

#endif

// ---- The linker (-Wl,--wrap) lets these stand in for two functions that MicroPython's module calls.

int __real_mbedtls_ssl_config_defaults(mbedtls_ssl_config *config, int endpoint, int transport, int preset);

// Without the extension a server sends records of 16 KiB, which do not fit.
int __wrap_mbedtls_ssl_config_defaults(mbedtls_ssl_config *config, int endpoint, int transport, int preset) {
    int result = __real_mbedtls_ssl_config_defaults(config, endpoint, transport, preset);
    return result ? result : mbedtls_ssl_conf_max_frag_len(config, MBEDTLS_SSL_MAX_FRAG_LEN_2048);
}

typedef int (*verify_t)(void *context, mbedtls_x509_crt *certificate, int depth, uint32_t *flags);

static verify_t python_verify; // the same function for every context

static int verify(void *context, mbedtls_x509_crt *certificate, int depth, uint32_t *flags) {
    *flags &= ~(uint32_t)MBEDTLS_X509_BADCERT_FUTURE;
    return python_verify(context, certificate, depth, flags);
}

void __real_mbedtls_ssl_conf_verify(mbedtls_ssl_config *config, verify_t function, void *context);

void __wrap_mbedtls_ssl_conf_verify(mbedtls_ssl_config *config, verify_t function, void *context) {
    python_verify = function;
    __real_mbedtls_ssl_conf_verify(config, verify, context);
}
