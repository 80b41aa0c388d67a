# The two commands of the README. Everything they need is prepared by tools/setup.py, in ignored folders.
#   make demo [ARGS=--exit]     the whole way of an update, on an emulated Cortex-M board
#   make test [ARGS="-k delta"] every test
PYTHON ?= python3
ARGS ?=

.PHONY: demo test lint bench bench-delta setup clean

demo:
	@$(PYTHON) tools/setup.py --for demo
	@.venv/bin/python tools/demo.py $(ARGS)

test: lint
	@.venv/bin/python -m pytest $(ARGS)

lint:
	@$(PYTHON) tools/setup.py --for test
	@.venv/bin/ruff check --quiet .
	@.venv/bin/ruff format --quiet --check .
	@.venv/bin/mypy

bench:
	@$(PYTHON) tools/setup.py --for test
	@.venv/bin/python bench/device.py $(ARGS)

bench-delta:
	@$(PYTHON) tools/setup.py --for test
	@.venv/bin/python -c "import detools, zstandard" 2>/dev/null || .venv/bin/python -m pip install --quiet -e '.[bench]'
	@.venv/bin/python bench/delta.py $(ARGS)

setup:
	@$(PYTHON) tools/setup.py --for test

clean:
	rm -rf build .venv .demo
