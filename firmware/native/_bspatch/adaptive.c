// The native module _bspatch: step(core, model, data) and literal(core, model, data, view), the range decoder of
// firmware/lib/bspatch/plain.py, which explains it (docs/patch-format.md, "Codec 1"). Whatever the input says, nothing
// outside the four buffers is touched: states are reached by numbers this file makes, input by its own bounds.

#include "py/dynruntime.h"

#include "../libc.h"

typedef struct {
    int32_t range, code;
    int32_t at, end;  // in the input
    int32_t left_off;
    int32_t left;
    int32_t run, kind, value, length;
} core_t;

enum { CHANGE, LITERAL, OLD_COPY, NEW_COPY, SEEK, LAST, BAD };

#define TOP (1 << 22)
#define MAX_CLASS (29)
#define LATER (15)
#define STEADY (7)
#define MIN_COPY (3)

// The first states of numbers, of kinds and of the two trees.
#define NUMBER (31)
#define COUNT (155)
#define OFFSET (186)
#define DISTANCE (217)
#define LENGTH (248)
#define SEEK_BY (279)
#define KINDS (310)
#define CHANGES (329)
#define LITERALS (584)
#define STATES (840)

typedef struct {
    core_t *core;
    uint16_t *model;
    const uint8_t *data;
} coder_t;

static void refill(coder_t *coder) {
    core_t *core = coder->core;
    while (core->range < TOP) {
        core->range <<= 8;
        core->code <<= 8;
        if (core->at < core->end) {
            core->code |= coder->data[core->at++];
        } else {
            core->left_off++;
        }
    }
}

static int decide(coder_t *coder, int index) {
    static const uint8_t shifts[STEADY + 1] = {1, 2, 2, 3, 3, 3, 3, 4};
    core_t *core = coder->core;
    refill(coder);
    int state = coder->model[index], chance = state >> 4, count = state & STEADY;
    int32_t bound = (core->range >> 12) * chance;
    int bit = core->code >= bound;
    if (bit) {
        core->range -= bound;
        core->code -= bound;
        chance -= chance >> shifts[count];
    } else {
        core->range = bound;
        chance += (4096 - chance) >> shifts[count];
    }
    coder->model[index] = (uint16_t)(chance << 4 | (count < STEADY ? count + 1 : count));
    return bit;
}

static int ones(coder_t *coder, int base, int most) {
    int n = 0;
    while (n < most && decide(coder, base + (n < LATER ? n : LATER))) {
        n++;
    }
    return n;
}

static int octet(coder_t *coder, int tree) {
    int node = 1;
    while (node < 256) {
        node = node << 1 | decide(coder, tree + node);
    }
    return node & 0xff;
}

// A number, or -1 if it is too large.
static int32_t number(coder_t *coder, int base) {
    int size = ones(coder, base, MAX_CLASS + 1);
    if (size == 0) {
        return 0;
    }
    if (size > MAX_CLASS) {
        return -1;
    }
    int32_t value = 2 | decide(coder, base + LATER + (size < LATER ? size : LATER));
    core_t *core = coder->core;
    while (--size) {
        refill(coder);
        core->range >>= 1;
        value <<= 1;
        if (core->code >= core->range) {
            core->code -= core->range;
            value |= 1;
        }
    }
    return value - 1;
}

// The buffers of a call. Their sizes are checked, and what core says about them, so that no caller in Python, however
// wrong, reaches memory that is not its own.
static coder_t opened(const mp_obj_t *args) {
    mp_buffer_info_t core, model, data;
    mp_get_buffer_raise(args[0], &core, MP_BUFFER_RW);
    mp_get_buffer_raise(args[1], &model, MP_BUFFER_RW);
    mp_get_buffer_raise(args[2], &data, MP_BUFFER_READ);
    coder_t coder = {core.buf, model.buf, data.buf};
    if (core.len < sizeof(core_t) || model.len < STATES * sizeof(uint16_t) || ((uintptr_t)core.buf & 3)
        || ((uintptr_t)model.buf & 1) || coder.core->at < 0 || coder.core->end < 0
        || (size_t)coder.core->end > data.len || coder.core->kind < 0 || coder.core->kind > SEEK
        || coder.core->range <= 0) {
        mp_raise_ValueError(MP_ERROR_TEXT("not the buffers of a patch"));
    }
    return coder;
}

static mp_obj_t step(mp_obj_t core_in, mp_obj_t model_in, mp_obj_t data_in) {
    coder_t coder = opened((const mp_obj_t[]){core_in, model_in, data_in});
    core_t *core = coder.core;
    int before = core->kind;
    core->run = number(&coder, NUMBER * before);
    if (core->run < 0) {
        core->kind = BAD;
        return mp_const_none;
    }
    if (core->run >= core->left) {
        core->kind = LAST;
        return mp_const_none;
    }
    int kind = ones(&coder, KINDS + 4 * before, SEEK);
    int32_t value, length = 0;
    if (kind == CHANGE) {
        value = octet(&coder, CHANGES);
    } else if (kind == LITERAL) {
        value = number(&coder, COUNT);
    } else if (kind == SEEK) {
        value = number(&coder, SEEK_BY);
    } else {
        value = number(&coder, kind == OLD_COPY ? OFFSET : DISTANCE);
        length = number(&coder, LENGTH);
    }
    core->kind = value < 0 || length < 0 ? BAD : kind;
    core->value = value;
    core->length = length + MIN_COPY;
    return mp_const_none;
}
static MP_DEFINE_CONST_FUN_OBJ_3(step_obj, step);

static mp_obj_t literal(size_t n_args, const mp_obj_t *args) {
    coder_t coder = opened(args);
    mp_buffer_info_t view;
    mp_get_buffer_raise(args[3], &view, MP_BUFFER_WRITE);
    for (size_t i = 0; i < view.len; i++) {
        ((uint8_t *)view.buf)[i] = (uint8_t)octet(&coder, LITERALS);
    }
    return mp_const_none;
}
static MP_DEFINE_CONST_FUN_OBJ_VAR_BETWEEN(literal_obj, 4, 4, literal);

__attribute__((externally_visible)) mp_obj_t mpy_init(
    mp_obj_fun_bc_t *self, size_t n_args, size_t n_kw, mp_obj_t *args) {
    MP_DYNRUNTIME_INIT_ENTRY
    mp_store_global(MP_QSTR_step, MP_OBJ_FROM_PTR(&step_obj));
    mp_store_global(MP_QSTR_literal, MP_OBJ_FROM_PTR(&literal_obj));
    MP_DYNRUNTIME_INIT_EXIT
}
