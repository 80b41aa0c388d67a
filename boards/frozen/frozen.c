// Modules of the agent that this firmware holds, for images that leave them out.
//
// Such an image has a file in a module's place, so that it is found, and absent features stay absent. The file holds a
// letter that no compiled module begins with, and the digest of the module that was left out. What is imported then is
// this firmware's, if it is that module: else it is an error, as for a module that cannot be loaded.

#include <string.h>

#include "py/frozenmod.h"
#include "py/persistentcode.h"
#include "py/reader.h"
#include "py/runtime.h"

#include "frozen.h"

#define LEFT_OUT ('F')
#define MOUNTED "/rom/lib/" // where the loader mounts an image
#define PLACE "tidegate/"   // of the modules among all that are frozen
#define MAX_NAME (80)

typedef struct {
    const char *name;
    byte digest[FROZEN_DIGEST_SIZE];
} frozen_t;

#include "digests.h" // written by frozen.py beside this

static const byte all[FROZEN_DIGEST_SIZE] = FROZEN_DIGEST;

const byte *frozen_digest(void) {
    return all;
}

static const mp_frozen_module_t *find(const char *path, const byte *digest) {
    size_t length = strlen(path);
    if (strncmp(path, MOUNTED, sizeof(MOUNTED) - 1) != 0 || length > MAX_NAME
        || strcmp(path + length - 4, ".mpy") != 0) {
        return NULL;
    }
    char name[sizeof(PLACE) + MAX_NAME] = PLACE;
    char *module = name + sizeof(PLACE) - 1;
    strcpy(module, path + sizeof(MOUNTED) - 1);
    strcpy(module + strlen(module) - 4, ".py");
    for (size_t i = 0; i < MP_ARRAY_SIZE(frozen); i++) {
        if (strcmp(module, frozen[i].name) == 0 && memcmp(digest, frozen[i].digest, FROZEN_DIGEST_SIZE) == 0) {
            int kind;
            void *found;
            mp_find_frozen_module(name, &kind, &found);
            return kind == MP_FROZEN_MPY ? found : NULL;
        }
    }
    return NULL;
}

// In place of MicroPython's own (the linker's --wrap), which loads a compiled module from a file.
void __real_mp_raw_code_load_file(qstr filename, mp_compiled_module_t *module);

void __wrap_mp_raw_code_load_file(qstr filename, mp_compiled_module_t *module) {
    mp_reader_t reader;
    mp_reader_new_file(&reader, filename);
    bool left_out = reader.readbyte(reader.data) == LEFT_OUT;
    byte digest[FROZEN_DIGEST_SIZE];
    for (size_t i = 0; left_out && i < FROZEN_DIGEST_SIZE; i++) {
        digest[i] = reader.readbyte(reader.data);
    }
    reader.close(reader.data);
    if (!left_out) {
        __real_mp_raw_code_load_file(filename, module);
        return;
    }
    const mp_frozen_module_t *held = find(qstr_str(filename), digest);
    if (held == NULL) {
        mp_raise_msg_varg(&mp_type_ImportError, MP_ERROR_TEXT("%q: not in this firmware"), filename);
    }
    module->context->constants = held->constants;
    module->rc = held->proto_fun;
}
