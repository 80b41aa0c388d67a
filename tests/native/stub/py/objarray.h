// Nothing of it is needed: py/runtime.h has all.
