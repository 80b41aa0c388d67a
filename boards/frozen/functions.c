// Functions of modules that stay loaded, ready in flash: in RAM each would take 16 bytes, some 5 KB in all.
//
// A function names the context of its module, in which are the module's variables. MicroPython makes contexts in its
// heap, where nothing in flash can name them, so these modules have theirs in an array. What is in it lives until the
// next start: a module of it that is let go of all the same would leave its table of variables behind, and it is loaded
// in MicroPython's own way when it comes again.

#include <string.h>

#include "py/emitglue.h"
#include "py/gc.h"
#include "py/objfun.h"
#include "py/runtime.h"

#include "functions.h"

_Static_assert(sizeof(function_t) == sizeof(mp_obj_fun_bc_t), "a function has no more than what is known here");
_Static_assert(offsetof(function_t, context) == offsetof(mp_obj_fun_bc_t, context), "");
_Static_assert(offsetof(function_t, children) == offsetof(mp_obj_fun_bc_t, child_table), "");
_Static_assert(offsetof(function_t, bytecode) == offsetof(mp_obj_fun_bc_t, bytecode), "");

// The function of a frozen module itself, which runs when it is loaded: from then on the module has its context here.
static const function_t *begin(mp_proto_fun_t proto_fun, const mp_module_context_t *context) {
    for (size_t i = 0; i < functions_modules; i++) {
        if (functions_of[i].module->proto_fun == proto_fun && functions_contexts[i].module.globals == NULL) {
            functions_contexts[i] = *context;
            return functions_of[i].functions;
        }
    }
    return NULL;
}

static const function_t *find(mp_proto_fun_t proto_fun, const functions_t *of) {
    const void *bytecode = proto_fun;
    if (!mp_proto_fun_is_bytecode(proto_fun)) {
        bytecode = ((const mp_raw_code_t *)proto_fun)->fun_data;
    }
    for (size_t i = 0; i < of->count; i++) {
        if (of->functions[i].bytecode == bytecode) {
            return &of->functions[i];
        }
    }
    return NULL;
}

// In place of MicroPython's own (the linker's --wrap). What makes a function of bytecode: one with default values has
// them in RAM.
mp_obj_t __real_mp_make_function_from_proto_fun(mp_proto_fun_t, const mp_module_context_t *, const mp_obj_t *);

mp_obj_t __wrap_mp_make_function_from_proto_fun(mp_proto_fun_t proto_fun, const mp_module_context_t *context,
    const mp_obj_t *defaults) {
    if (defaults == NULL || (defaults[0] == MP_OBJ_NULL && defaults[1] == MP_OBJ_NULL)) {
        bool ours = context >= functions_contexts && context < functions_contexts + functions_modules;
        const function_t *found = ours ? find(proto_fun, &functions_of[context - functions_contexts])
            : begin(proto_fun, context);
        if (found != NULL) {
            return MP_OBJ_FROM_PTR(found);
        }
    }
    return __real_mp_make_function_from_proto_fun(proto_fun, context, defaults);
}

// Before the collector sweeps: nothing in its heap need name what these modules hold.
void __real_gc_collect_end(void);

void __wrap_gc_collect_end(void) {
    gc_collect_root((void **)functions_contexts, functions_modules * sizeof(mp_module_context_t) / sizeof(void *));
    __real_gc_collect_end();
}

// A start: the heap of the last one is gone.
void __real_mp_init(void);

void __wrap_mp_init(void) {
    memset(functions_contexts, 0, functions_modules * sizeof(mp_module_context_t));
    __real_mp_init();
}
