# The two commands of the README. Everything they need is prepared by tools/setup.py, in ignored folders.
#   make demo [ARGS=--exit]     the whole way of an update, on an emulated Cortex-M board
#   make test [ARGS="-k delta"] every test, two files at a time (JOBS=2)
# More: make bench, bench-delta, bench-tls, bench-wear, bench-wire, and make fuzz [N=200000] [ARGS="--seed 1"], changed input by the
# hundred thousand.
PYTHON ?= python3
ARGS ?=
JOBS ?= 2
N ?= 200000

.PHONY: demo test lint bench bench-delta bench-tls bench-wear bench-wire fuzz fresh setup clean

demo:
	@$(PYTHON) tools/setup.py --for demo
	@.venv/bin/python tools/demo.py $(ARGS)

test: lint
	@.venv/bin/python -m pytest --numprocesses $(JOBS) --dist loadfile $(ARGS)

lint:
	@$(PYTHON) tools/setup.py --for test
	@.venv/bin/ruff check --quiet .
	@.venv/bin/ruff format --quiet --check .
	@.venv/bin/mypy

bench:
	@$(PYTHON) tools/setup.py --for test
	@.venv/bin/python bench/device.py $(ARGS)

bench-tls:
	@$(PYTHON) tools/setup.py --for test
	@.venv/bin/python bench/tls.py $(ARGS)

bench-delta:
	@$(PYTHON) tools/setup.py --for test
	@.venv/bin/python -c "import detools, zstandard" 2>/dev/null || .venv/bin/python -m pip install --quiet -e '.[bench]'
	@.venv/bin/python bench/delta.py $(ARGS)

bench-wear:
	@$(PYTHON) tools/setup.py --for test
	@.venv/bin/python bench/wear.py --emulated $(ARGS)

fuzz:
	@$(PYTHON) tools/setup.py --for test
	@.venv/bin/python tests/fuzz/run.py --count $(N) $(ARGS)

bench-wire:
	@$(PYTHON) tools/setup.py --for test
	@.venv/bin/python bench/wire.py $(ARGS)

fresh:
	@$(PYTHON) tools/setup.py --for fresh
	@$(PYTHON) tools/fresh.py $(if $(FRESH_RUN),"$(FRESH_RUN)")

setup:
	@$(PYTHON) tools/setup.py --for test

clean:
	rm -rf build .venv .demo
