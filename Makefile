# One task runner. Each task sets up what it needs in VENV first.
# PIP_ARGS goes to pip: with PyTorch's CPU index, for instance, the environment is small (see docs/demo.md).
PYTHON ?= python3
VENV ?= .venv
PIP_ARGS ?=
BIN := $(VENV)/bin
# Compiled files are kept, whatever the environment says: tests start hundreds of processes that read the package.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo check core test test-slow lint docs bench

demo: $(VENV)/.installed-study
	$(BIN)/counterpoint compare clip slip siglip --data emoji --seeds 3

# The tests of one package, and the conformance suite of its files that changed: make check ROOM=losses
check: $(VENV)/.installed-dev
	$(BIN)/python scripts/check.py $(ROOM)

# In an environment with the hard dependencies alone: losses, lists and help work, a missing extra is one line.
core: $(VENV)-core/.installed
	bash scripts/check_core.sh $(VENV)-core/bin

# A file's tests stay in one process, which shares its models and process groups; one thread each, as processes share the cores.
test: $(VENV)/.installed-dev
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses auto --maxprocesses 4 --dist loadfile

# What takes longer and still is promised: torchrun, stopped processes, every Python block of README and docs as a script.
# The large simulation of the intervals (pytest -m slow tests/statistics) is left out: its small form is among the tests.
test-slow: $(VENV)/.installed-dev
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses auto --maxprocesses 4 --dist loadfile -m slow tests --ignore=tests/statistics

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/codespell src docs scripts README.md CONTRIBUTING.md CHANGELOG.md
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(VENV)/.installed-docs
	$(BIN)/sphinx-build -W --keep-going -q -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

bench: $(VENV)/.installed-dev
	@for script in benchmarks/[a-z]*.py; do echo "== $$script"; $(BIN)/python "$$script" || exit 1; done

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)-core/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)-core
	$(VENV)-core/bin/python -m pip install $(PIP_ARGS) -e .
	@touch $@

$(VENV)/.installed-%: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install $(PIP_ARGS) -e ".[$*]"
	@touch $@
