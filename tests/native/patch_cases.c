// "CORE MODEL DATA -": decodes steps until the last, and prints each: run, kind, value, length, and the sum of its
// literals. test_native.py does the same with the decoder in Python.

#include "../../firmware/native/_bspatch/adaptive.c"

#include "cases.h"

#define MOST_STEPS (400)
#define MOST_LITERALS (48)

static void decode(mp_buffer_info_t fields[FIELDS]) {
    core_t *core = fields[0].buf;
    for (int i = 0; i < MOST_STEPS; i++) {
        step_obj(&fields[0], &fields[1], &fields[2]);
        unsigned sum = 0;
        if (core->kind == LITERAL) {
            size_t size = core->value < MOST_LITERALS ? (size_t)core->value + 1 : MOST_LITERALS;
            mp_buffer_info_t view = {malloc(size), size};
            literal_obj(4, (const mp_obj_t[]){&fields[0], &fields[1], &fields[2], &view});
            for (size_t k = 0; k < size; k++) {
                sum = sum * 31 + ((uint8_t *)view.buf)[k] & 0xffffff;
            }
            free(view.buf);
        }
        printf("%d,%d,%d,%d,%u ", (int)core->run, (int)core->kind, (int)core->value, (int)core->length, sum);
        if (core->kind >= LAST || core->left_off > 3) {
            return;
        }
    }
}

int main(void) {
    mp_buffer_info_t fields[FIELDS];
    mpy_init(NULL, 0, 0, NULL);
    while (next_case(fields)) {
        if (setjmp(raised)) {
            printf("raised %s", raised_text);
        } else {
            decode(fields);
        }
        printf("\n");
        fflush(stdout);
        free_case(fields);
    }
    return 0;
}
