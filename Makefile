# `make` alone lists the targets. Everything runs in .venv, which has exact pins (constraints.txt).

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

# PYTHON=python3.12 chooses the interpreter of a new .venv; without it, the first that fits.
# PIP_ARGS is passed to pip, e.g. PIP_ARGS="--extra-index-url https://download.pytorch.org/whl/cpu".
# ARGS is passed to the command that a target runs, e.g. make test ARGS="-n0 tests/test_docs.py".
PYTHON ?=
PIP_ARGS ?=
ARGS ?=

# The pins hold in every pip call, and in the environments that pip builds packages in.
export PIP_CONSTRAINT := constraints.txt
export PIP_BUILD_CONSTRAINT := constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1

PIP_INSTALL := .venv/bin/python -m pip install $(if $(MAKE_TERMOUT),,--quiet) $(PIP_ARGS)

# The scripts of a virtual environment name the folder that they were made in. In a folder that was
# moved or copied, it is made anew.
ifeq ($(shell grep -sqF "$$(pwd -P)/.venv" .venv/bin/activate && echo here),)
.PHONY: .venv/.made
endif

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s  %s\n", $$1, $$2 }' Makefile

.PHONY: run
run: install ## Install, then run the demo: every number of two small convolutions
	@.venv/bin/convtrace demo $(ARGS)

.PHONY: test
test: .venv/.test .venv/.system .venv/.page ## Install, then run the whole test suite
	@.venv/bin/python -m pytest $(ARGS)

.PHONY: install
install: .venv/.installed ## Make .venv with exact pins; quick when nothing changed

.PHONY: check
check: .venv/.check ## Lint, check the format, check the types
	@.venv/bin/ruff check
	@.venv/bin/ruff format --check
	@.venv/bin/pyright

.PHONY: format
format: .venv/.check ## Sort imports, fix what can be fixed safely, format
	@.venv/bin/ruff check --fix-only
	@.venv/bin/ruff format

.PHONY: bench
bench: .venv/.bench ## Run the benchmarks and write their results page
	@.venv/bin/python -m benchmarks

.PHONY: page
page: .venv/.page ## Build page.js and page.css of the page from web/
	@.venv/bin/python scripts/node.py vite build

.PHONY: docs
docs: .venv/.docs ## Build the docs of both languages into docs/_build
	@for language in en ko; do \
	  .venv/bin/sphinx-build --quiet --fail-on-warning --keep-going --conf-dir docs \
	    --define language=$$language docs/$$language docs/_build/$$language; \
	  echo "docs/_build/$$language/index.html"; \
	done

.PHONY: clean
clean: ## Remove .venv and everything else that was made here
	rm -rf .venv web/node_modules build dist docs/_build .hypothesis .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Each stamp is touched last, so an installation that was interrupted is done again.
.venv/.made: scripts/make_venv.sh
	@PYTHON="$(PYTHON)" scripts/make_venv.sh
	@touch $@

.venv/.installed: .venv/.made pyproject.toml constraints.txt
	@echo "Installing into .venv. The first time takes some minutes: PyTorch is large."
	@$(PIP_INSTALL) pip
	@$(PIP_INSTALL) --editable '.[figures,onnx,serve,sheet,video,widget]'
	@.venv/bin/python -m compileall -q src/convtrace  # as pip does for all that is not editable
	@touch $@

# Programs and fonts for the tests: LibreOffice and others, where they can be installed.
.venv/.system: .venv/.made scripts/install_system.sh
	@scripts/install_system.sh
	@touch $@

# Packages of web/ and a browser, for building and testing the page.
.PHONY: .venv/.page
.venv/.page: .venv/.test
	@.venv/bin/python scripts/prepare_page.py

.venv/.test: .venv/.installed
	@echo "Installing what the tests need, among it JAX, Keras, JupyterLab and a browser's driver."
	@$(PIP_INSTALL) --group test
	@touch $@

.venv/.bench .venv/.check .venv/.docs: .venv/.%: .venv/.test
	@$(PIP_INSTALL) --group $*
	@touch $@
