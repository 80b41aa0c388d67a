// How mbedtls is built: a TLS 1.2 client with certificates, small. docs/decisions/0014-tls-on-the-board.md has the
// reasons and the figures.

#ifndef TIDEGATE_MBEDTLS_CONFIG_H
#define TIDEGATE_MBEDTLS_CONFIG_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

// ---- The platform: nothing of a hosted C library.
#define MICROPY_MBEDTLS_CONFIG_BARE_METAL (1)
#define MBEDTLS_PLATFORM_C
#define MBEDTLS_PLATFORM_MEMORY
#define MBEDTLS_PLATFORM_NO_STD_FUNCTIONS
#define MBEDTLS_PLATFORM_SNPRINTF_MACRO snprintf
void tls_broken(int code);
#define MBEDTLS_PLATFORM_EXIT_MACRO tls_broken
#define MBEDTLS_HAVE_ASM
#define MBEDTLS_DEPRECATED_REMOVED

// ---- Memory: an arena of its own (tls.c), or with TLS_ARENA=0 MicroPython's heap.
#if TIDEGATE_TLS_ARENA
#define MBEDTLS_MEMORY_BUFFER_ALLOC_C
#define MBEDTLS_MEMORY_ALIGN_MULTIPLE 4
#define MBEDTLS_MEMORY_DEBUG // for the peak that mps2.tls_memory() tells; its messages go nowhere
#define MBEDTLS_PLATFORM_FPRINTF_MACRO(stream, ...) ((void)0)
#else
void *m_tracked_calloc(size_t count, size_t size);
void m_tracked_free(void *data);
#define MBEDTLS_PLATFORM_STD_CALLOC m_tracked_calloc
#define MBEDTLS_PLATFORM_STD_FREE m_tracked_free
#endif

// ---- Time: certificates are checked against the board's lower bound of the time (tls.c).
#define MBEDTLS_HAVE_TIME
#define MBEDTLS_HAVE_TIME_DATE
int64_t tls_time(int64_t *to);
#define MBEDTLS_PLATFORM_TIME_TYPE_MACRO int64_t
#define MBEDTLS_PLATFORM_TIME_MACRO tls_time
#define MBEDTLS_PLATFORM_MS_TIME_ALT
#define MBEDTLS_PLATFORM_GMTIME_R_ALT

// ---- Randomness: from random.c.
#define MBEDTLS_NO_PLATFORM_ENTROPY
#define MBEDTLS_ENTROPY_HARDWARE_ALT
#define MBEDTLS_ENTROPY_C
#define MBEDTLS_ENTROPY_FORCE_SHA256
#define MBEDTLS_ENTROPY_MAX_SOURCES 1
#define MBEDTLS_CTR_DRBG_C

// ---- The protocol: TLS 1.2, ECDHE with AEAD ciphers only, server name sent, records of at most 4 KiB asked for.
#define MBEDTLS_SSL_TLS_C
#define MBEDTLS_SSL_CLI_C
#define MBEDTLS_SSL_PROTO_TLS1_2
#define MBEDTLS_SSL_SERVER_NAME_INDICATION
#define MBEDTLS_SSL_MAX_FRAGMENT_LENGTH
#define MBEDTLS_SSL_VARIABLE_BUFFER_LENGTH
#define MBEDTLS_SSL_EXTENDED_MASTER_SECRET
#define MBEDTLS_SSL_ALL_ALERT_MESSAGES
#define MBEDTLS_SSL_IN_CONTENT_LEN 4096
#define MBEDTLS_SSL_OUT_CONTENT_LEN 2048
#define MBEDTLS_KEY_EXCHANGE_ECDHE_ECDSA_ENABLED
#define MBEDTLS_KEY_EXCHANGE_ECDHE_RSA_ENABLED

// ---- Ciphers.
#define MBEDTLS_CIPHER_C
#define MBEDTLS_AES_C
#define MBEDTLS_AES_ROM_TABLES
#define MBEDTLS_AES_FEWER_TABLES
#define MBEDTLS_GCM_C
#define MBEDTLS_CHACHA20_C
#define MBEDTLS_POLY1305_C
#define MBEDTLS_CHACHAPOLY_C

// ---- Hashes. SHA-1 and SHA-256 are hashlib's too; TLS accepts no SHA-1.
#define MBEDTLS_MD_C
#define MBEDTLS_SHA1_C
#define MBEDTLS_SHA224_C
#define MBEDTLS_SHA256_C
#define MBEDTLS_SHA384_C
#define MBEDTLS_SHA512_C
#define MBEDTLS_SHA512_SMALLER

// ---- Public keys: P-256, P-384, RSA to 4096 bits. X25519 would be dearer than P-256, which has tables in ROM.
#define MBEDTLS_BIGNUM_C
#define MBEDTLS_MPI_MAX_SIZE 512
#define MBEDTLS_ECP_C
#define MBEDTLS_ECP_DP_SECP256R1_ENABLED
#define MBEDTLS_ECP_DP_SECP384R1_ENABLED
#define MBEDTLS_ECP_NIST_OPTIM
#define MBEDTLS_ECP_WINDOW_SIZE 4
#define MBEDTLS_ECP_FIXED_POINT_OPTIM 1
#define MBEDTLS_ECDH_C
#define MBEDTLS_ECDSA_C
#define MBEDTLS_ECDSA_DETERMINISTIC // a client's key must not hang on the quality of a board's random numbers
#define MBEDTLS_HMAC_DRBG_C
#define MBEDTLS_RSA_C
#define MBEDTLS_PKCS1_V15
#define MBEDTLS_PKCS1_V21
#define MBEDTLS_X509_RSASSA_PSS_SUPPORT
#define MBEDTLS_PK_C
#define MBEDTLS_PK_PARSE_C
#define MBEDTLS_ASN1_PARSE_C
#define MBEDTLS_ASN1_WRITE_C
#define MBEDTLS_OID_C

// ---- Certificates, as DER: the host turns PEM into it. The peer's is forgotten once it is verified.
#define MBEDTLS_X509_USE_C
#define MBEDTLS_X509_CRT_PARSE_C
#define MBEDTLS_ERROR_C

#endif
