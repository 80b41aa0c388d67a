// valid(key, message, size, signature): whether an Ed25519 signature is right. Needs memcpy, memmove and memset.
//
// The same verdict as firmware/lib/ed25519/pure.py on every input: S < L, canonical public key and R, neither of small
// order, and the equation without a cofactor, by comparing the encoded R. Field and point arithmetic are Monocypher's,
// whose own check multiplies by the cofactor and takes encodings that are not canonical; so its parts are used here and
// its check is not. Nothing is secret, so nothing runs in constant time.

// Monocypher has its own.
#undef MIN
#undef MAX
#include "monocypher.c"

#include "sha512.h"

#define KEY_WINDOW (4)  // bits; odd multiples of the key in a table of 4 points, 640 bytes of stack

// Whether a comes before b, numbers of 32 bytes, least significant first.
static int below(const u8 *a, const u8 *b) {
    for (int i = 31; i >= 0; i--) {
        if (a[i] != b[i]) {
            return a[i] < b[i];
        }
    }
    return 0;
}

static int same(const u8 *a, const u8 *b) {
    return !below(a, b) && !below(b, a);
}

// Whether the 32 bytes are a point of order 8 or less, or no canonical encoding (RFC 8032 section 5.1.3).
static int small_order(const u8 encoded[32]) {
    // In order: y of the points of order 1; of order 8, and their negatives; and of order 2, the largest canonical y.
    static const u8 one[32] = {1};
    static const u8 eight[2][32] = {
        {
            0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f,
            0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
        },
        {
            0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0,
            0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
        },
    };
    static const u8 largest[32] = {
        0xec, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f,
    };
    u8 y[32];
    COPY(y, encoded, 32);
    y[31] &= 0x7f;  // the sign of x
    return !below(one, y) || !below(y, largest) || same(y, eight[0]) || same(y, eight[1]);
}

// The encoding of [s]B - [h]A, by Straus's way: both scalars, in sliding windows, share the doublings. Returns whether
// the key is a point of the curve.
static int combine(u8 out[32], const u8 key[32], const u8 s[32], const u8 h[32]) {
    ge sum, twice, scratch;
    ge_cached odd[1 << (KEY_WINDOW - 2)];  // -A times 1, 3, 5, 7
    if (ge_frombytes_neg_vartime(&sum, key)) {
        return 0;
    }
    ge_double(&twice, &sum, &scratch);
    ge_cache(&odd[0], &sum);
    FOR (i, 1, 1 << (KEY_WINDOW - 2)) {
        ge_add(&sum, &twice, &odd[i - 1]);
        ge_cache(&odd[i], &sum);
    }
    slide_ctx of_h, of_s;
    slide_init(&of_h, h);
    slide_init(&of_s, s);
    ge_zero(&sum);
    for (int i = MAX(of_h.next_check, of_s.next_check); i >= 0; i--) {
        ge_double(&sum, &sum, &scratch);
        int digit = slide_step(&of_h, KEY_WINDOW, i, h);
        if (digit > 0) {
            ge_add(&sum, &sum, &odd[digit / 2]);
        } else if (digit < 0) {
            ge_sub(&sum, &sum, &odd[-digit / 2]);
        }
        digit = slide_step(&of_s, B_W_WIDTH, i, s);
        if (digit > 0) {
            ge_madd(&sum, &sum, b_window + digit / 2, scratch.X, scratch.Y);
        } else if (digit < 0) {
            ge_msub(&sum, &sum, b_window + -digit / 2, scratch.X, scratch.Y);
        }
    }
    ge_tobytes(out, &sum);
    return 1;
}

static int valid(const u8 key[32], const u8 *message, size_t size, const u8 signature[64]) {
    u32 s[8];
    load32_le_buf(s, signature + 32, 8);
    if (is_above_l(s) || small_order(key) || small_order(signature)) {
        return 0;
    }
    u8 digest[64], h[32], r[32];
    sha512_ctx hash;
    sha512_start(&hash);
    sha512_add(&hash, signature, 32);
    sha512_add(&hash, key, 32);
    sha512_add(&hash, message, size);
    sha512_finish(&hash, digest);
    crypto_eddsa_reduce(h, digest);
    return combine(r, key, signature + 32, h) && same(r, signature);
}
