# What a newcomer runs: `make demo`. What a contributor runs: `make test lint types`.
# Everything is installed into .venv, at the versions of constraints.txt, once.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)

.DEFAULT_GOAL := help
.PHONY: help demo test test-all lint types bench gpu-check wheel servers clean
.NOTPARALLEL:

help:
	@echo "make demo      train three small models under the meter, compare them, write the report"
	@echo "make test      the tests, a few minutes"
	@echo "make test-all  the slow ones too: servers, browsers, faults ('make servers' installs those)"
	@echo "make gpu-check on a machine with an NVIDIA GPU: its counter, its clock, what metering costs"
	@echo "make lint types bench wheel clean"

demo: $(VENV)/.demo-installed
	$(BIN)/greenai bench --quick

test: $(VENV)/.dev-installed
	$(BIN)/pytest -m "not slow and not gpu"

test-all: $(VENV)/.dev-installed
	$(BIN)/pytest -m "not gpu"

lint: $(VENV)/.dev-installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# An editable install hides the outer folders from mypy, so it reads a plain one.
types: $(VENV)/.dev-installed
	rm -rf build
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --target build/plain .
	cd build/plain && $(CURDIR)/$(BIN)/mypy --config-file $(CURDIR)/pyproject.toml \
		--cache-dir $(CURDIR)/.mypy_cache/plain --strict -p greenai

bench: $(VENV)/.dev-installed
	@for script in tests/bench/*.py; do \
		echo "== $$script"; $(BIN)/python "$$script" || exit 1; \
	done

# What only a real GPU can tell; some 17 minutes. ONLY=T1,T2 runs some of the probes.
# Changes no clock, limit or mode of the GPU. Another Python than .venv's:
# PYTHONPATH=tests python tests/gpu/check.py
gpu-check: $(VENV)/.dev-installed
	PYTHONPATH=tests $(BIN)/python tests/gpu/check.py --only "$(ONLY)"

# By way of the source archive, which is thereby known to be complete.
wheel: $(VENV)/.dev-installed
	rm -rf build dist
	$(BIN)/python -m build --no-isolation --outdir dist .

# What the slow tests talk to; without it they are skipped. Debian and Ubuntu.
servers:
	$(SUDO) apt-get update --quiet
	$(SUDO) env DEBIAN_FRONTEND=noninteractive \
		apt-get install --yes --quiet --no-install-recommends prometheus chromium \
		prometheus-pushgateway prometheus-node-exporter victoria-metrics \
		libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0

# Recorded runs (runs/) are left alone.
clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Installed once, and again when what is to be installed changes.
$(VENV)/.demo-installed: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/pip install --disable-pip-version-check -c constraints.txt -e ".[lightning]"
	touch $@

$(VENV)/.dev-installed: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/pip install --disable-pip-version-check -c constraints.txt -e ".[lightning,dev]"
	touch $@ $(VENV)/.demo-installed

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and \
		"greenai needs Python 3.11 or later; say which: make PYTHON=python3.11 demo")'
	$(PYTHON) -m venv $(VENV)
