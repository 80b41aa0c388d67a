// "KEY MESSAGE SIGNATURE -": prints 1 if the signature is the key's, else 0.

#include "../../firmware/native/_ed25519/ed25519.c"

#include "cases.h"

int main(void) {
    mp_buffer_info_t fields[FIELDS];
    mpy_init(NULL, 0, 0, NULL);
    while (next_case(fields)) {
        printf("%d\n", verify_obj(&fields[0], &fields[1], &fields[2]) == mp_const_true);
        fflush(stdout);
        free_case(fields);
    }
    return 0;
}
