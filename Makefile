# Everything a newcomer needs: `make demo` and `make test`. Both set themselves up; Python 3.11+ and make are enough.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.NOTPARALLEL:
.SUFFIXES:

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -qq
# Pass PYTHON=python3.13 to choose; otherwise the first of these that is new enough.
PYTHON := python3
PYTHONS := $(PYTHON) python3.14 python3.13 python3.12 python3.11
JOBS := 2
CODE := node tests tools

.PHONY: help demo test check fmt lock bench mutants workflows proto contract style types imports wire drawings tour suite

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' Makefile

demo: $(VENV)/.runtime ## three countries on this machine, and a tour; with ONCE=1 it ends by itself
	@$(BIN)/enlace demo $(if $(filter-out 0,$(ONCE)),--once)

test: check tour suite ## everything: check, the tour once, all tests with branch coverage

check: style types imports wire drawings ## style, types, imports, wire contract, generated code and drawings

fmt: $(VENV)/.dev ## put the code into its form, and repair what can be repaired
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: $(VENV)/.dev ## renew the pinned versions and their hashes (LOCK= keeps the versions that still fit)
	$(COMPILE) --extra build --output-file requirements.lock
	$(COMPILE) --extra build --extra dev --extra parquet --constraint requirements.lock --output-file requirements-dev.lock

LOCK := --upgrade
# Extras stay in the lock: pip looks a requirement such as coverage[toml] up by that name, and would not find its pin.
COMPILE = $(BIN)/uv pip compile pyproject.toml --quiet $(LOCK) --universal --python-version 3.11 --generate-hashes \
	--no-header --no-annotate --no-emit-index-url --no-strip-extras

bench: $(VENV)/.dev ## measure, and write a table
	$(BIN)/python -m tests.bench

# A full run takes about an hour; FILES="node/policy/redact.py" and SAMPLE=50 make it shorter.
mutants: $(VENV)/.dev ## change the policy's code place by place, and list what no test notices
	$(BIN)/python tools/mutants.py --sample $(or $(SAMPLE),0) $(FILES)

workflows: $(VENV)/.dev ## draw docs/workflows.md from node/workflow
	$(BIN)/python -m tools.draw_workflows

proto: $(VENV)/.dev ## generate node/wire from proto/
	$(BIN)/python tools/generate.py

contract: $(VENV)/.dev ## freeze the wire contract of a release, which `check` compares with
	$(BIN)/buf build --exclude-source-info --output proto/enlace.binpb

# --- parts of `check` and `test`: with --keep-going, one that fails does not hide the others -------------------------

style: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/mypy --explicit-package-bases $(CODE)

imports: $(VENV)/.dev
	$(BIN)/lint-imports

drawings: $(VENV)/.dev
	$(BIN)/python -m tools.draw_workflows --check

# The baseline is the contract of the last release, so that the comparison needs no history and no tags.
wire: $(VENV)/.dev
	$(BIN)/python tools/generate.py --check
	$(BIN)/buf lint
	$(BIN)/buf breaking --against proto/enlace.binpb

tour: $(VENV)/.runtime
	@$(BIN)/enlace demo --once

# A file's tests stay on one worker, so that its nodes and databases start once. A test that hangs shows where.
suite: $(VENV)/.dev
	$(BIN)/python -m pytest --numprocesses $(JOBS) --dist loadfile --ignore tests/bench \
		-o faulthandler_timeout=240 --cov --cov-branch --cov-report term:skip-covered

# --- set-up ----------------------------------------------------------------------------------------------------------

# A stamp says that its lock is installed; the second run finds it newer than the lock and does nothing. The development
# lock holds all of the runtime lock, so it sets both stamps.
$(VENV)/.runtime: requirements.lock pyproject.toml | $(VENV)/.made
	@echo "Installing what the node needs (once; about a minute)"
	@$(PIP) install --require-hashes --requirement requirements.lock
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: requirements-dev.lock requirements.lock pyproject.toml | $(VENV)/.made
	@echo "Installing what development needs (once; about a minute)"
	@$(PIP) install --require-hashes --requirement requirements-dev.lock
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $(VENV)/.runtime $@

$(VENV)/.made:
	@if $(BIN)/python -m pip --version >/dev/null 2>&1; then touch $@; exit 0; fi; \
	for python in $(PYTHONS); do \
		if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then \
			"$$python" -m venv --clear $(VENV) && touch $@ && exit 0; \
			echo "$$python can't make virtual environments here. On Debian and Ubuntu: apt-get install python3-venv" >&2; \
			exit 1; \
		fi; \
	done; \
	echo "Python 3.11 or newer is needed, and none was found. If it has another name: make PYTHON=/path/to/python" >&2; \
	exit 1
