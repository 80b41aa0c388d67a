# What every native module here shares, around MicroPython's own rules (py/dynruntime.mk). Included by MODULE/Makefile
# after it has set MOD and SRC, and PARTS for the files that its sources include. ../Makefile, which calls it, says ARCH,
# OUT (the folder that MOD.mpy goes to), MPY_DIR, PYTHON and MONOCYPHER.

BUILD = $(OUT)/objects/$(MOD)

.DEFAULT_GOAL := $(OUT)/$(MOD).mpy

# A module is one translation unit, and this is all of it: what it does not use of a library it includes is left out.
CFLAGS_EXTRA += -fwhole-program -Wextra -Wno-unused-parameter
# The C library's work that a core has no instruction for, such as 64-bit products on ARMv6-M.
LINK_RUNTIME = 1

include $(MPY_DIR)/py/dynruntime.mk

# Linked under its bare name, which goes into the file: the same bytes wherever the checkout is. There is no bytecode to
# merge.
$(OUT)/$(MOD).mpy: $(SRC_O)
	$(ECHO) "LINK $@"
	$(Q)cd $(OUT) && $(MPY_LD) --arch $(ARCH) --qstrs $(CONFIG_H) $(MPY_LD_FLAGS) -o $(MOD).mpy $^

$(SRC_O): $(PARTS) ../natmod.mk
