# Code that is executed where it lies in an image: build/native/ARCH/MODULE.bin, from MODULE/in_place.c. The Makefile
# beside this calls it with ARCH, MODULE, OUT and MONOCYPHER. For cores without a data cache, which finds code that was
# written to RAM nowhere else.

CORE_armv6m = cortex-m0
CORE_armv7m = cortex-m3

CROSS ?= arm-none-eabi-
TARGET = -mthumb -mcpu=$(CORE_$(ARCH))
# Data beside the code is reached from the program counter; loops of memmove are left as they are.
CFLAGS = -std=gnu99 -Os -Wall -Wextra -Werror -Wno-unused-parameter -Wno-unused-function -ffreestanding -fwhole-program \
	-fpie -mno-single-pic-base -ffunction-sections -fdata-sections -fno-tree-loop-distribute-patterns -I$(MONOCYPHER)
SOURCES = $(wildcard $(MODULE)/*.h) $(MODULE)/in_place.c in_place.ld in_place.mk
ELF = $(OUT)/objects/$(MODULE)/in_place.elf

$(OUT)/$(MODULE).bin: $(ELF)
	@$(CROSS)objcopy -O binary $< $@
	@chmod a-x $@

$(ELF): $(SOURCES)
	@echo "LINK $(OUT)/$(MODULE).bin"
	@mkdir -p $(@D)
	@$(CROSS)gcc $(TARGET) $(CFLAGS) -nostdlib -Wl,-T,in_place.ld -Wl,--gc-sections -o $@ $(MODULE)/in_place.c -lgcc
