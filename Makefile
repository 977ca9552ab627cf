# `make demo` and `make test` work on a fresh machine with Python >= 3.11: each makes .venv and installs what it needs, once.
PYTHON ?= python3
BIN := .venv/bin
PIP_INSTALL := $(BIN)/python -m pip install --quiet --constraint constraints.txt

.PHONY: demo test docs nightly check bench clean

demo: .venv/installed-core
	$(BIN)/multilayer demo

test: .venv/installed-test
	scripts/check
	scripts/test

docs: .venv/installed-docs
	$(BIN)/python -m sphinx --fail-on-warning --keep-going -d build/doctrees -b html docs build/docs
	@echo "Open build/docs/index.html"

nightly: .venv/installed-test
	HYPOTHESIS_PROFILE=nightly scripts/test tests/table/test_any_table.py
	PYTHONPATH=src $(BIN)/python -W ignore tests/forgery.py 100000

check: .venv/installed-test
	scripts/check

bench: .venv/installed-bench
	$(BIN)/python -m benchmarks

clean:
	rm -rf .venv build dist demo .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "multilayer needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Say which one to use: make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv || { rm -rf .venv; exit 1; }

# A stamp is newer than the two files that decide what is installed; the test environment holds the core one.
.venv/installed-core: pyproject.toml constraints.txt | .venv/bin/python
	@echo "Installing multilayer into .venv (PyTorch is large: the first time takes a while)"
	$(PIP_INSTALL) --editable .
	touch $@

.venv/installed-test: pyproject.toml constraints.txt | .venv/bin/python
	@echo "Installing multilayer with its test extras into .venv (PyTorch is large: the first time takes a while)"
	$(PIP_INSTALL) --editable '.[test]'
	touch .venv/installed-core .venv/installed-docs $@

.venv/installed-docs: pyproject.toml constraints.txt | .venv/bin/python
	$(PIP_INSTALL) --editable '.[docs]'
	touch .venv/installed-core $@

.venv/installed-bench: .venv/installed-test
	$(PIP_INSTALL) --editable '.[test,bench]'
	touch $@
