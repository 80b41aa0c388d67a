// Functions of modules that stay loaded, ready in flash.

#ifndef TIDEGATE_FUNCTIONS_H
#define TIDEGATE_FUNCTIONS_H

#include "py/bc.h"

// What MicroPython makes in RAM of bytecode without default values: an mp_obj_fun_bc_t.
typedef struct {
    mp_obj_base_t base;
    const mp_module_context_t *context;
    const void *children;
    const byte *bytecode;
} function_t;

// One module, and all functions in it.
typedef struct {
    const mp_frozen_module_t *module;
    const function_t *functions;
    size_t count;
} functions_t;

// functions.py writes these behind the frozen modules. A module's own function comes first, and all name its context.
extern const functions_t functions_of[];
extern const size_t functions_modules;
extern mp_module_context_t functions_contexts[];

#endif
