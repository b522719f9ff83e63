# `make help` lists what there is. Every target sets up .venv first; .venv/.stamp says for which pyproject.toml it is.

PYTHON ?= python3
OUT ?= runs/demo
ARGS ?=
WORKERS ?= 2

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.stamp
AXE := $(VENV)/node/node_modules/axe-core/axe.min.js

.DEFAULT_GOAL := help
.PHONY: help setup demo lint format test test-slow docs generalisation results ablations benchmarks screenshots clean

help: ## this list
	@echo "make TARGET [PYTHON=python3.12] [ARGS='more options']"
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/\1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "  %-12s %s\n", $$1, $$2 }'

setup: $(STAMP) ## .venv with prusc and its tools, if missing or out of date

$(STAMP): pyproject.toml
	@command -v "$(PYTHON)" >/dev/null || { \
	  echo "prusc needs Python 3.11 or newer, and '$(PYTHON)' is not there: install it (Debian: apt-get install" \
	    "python3 python3-venv) or say which one: make PYTHON=/path/to/python" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "prusc needs Python 3.11 or newer; '$(PYTHON)' is $$("$(PYTHON)" -V 2>&1)." \
	    "Say which one to use: make PYTHON=python3.12" >&2; exit 1; }
	@if ! $(BIN)/python -c 'import pip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	  "$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { \
	    echo "'$(PYTHON)' cannot make virtual environments." \
	      "On Debian and Ubuntu: apt-get install python3-venv (as root), then make again" >&2; exit 1; }; \
	  "$(PYTHON)" -m venv --clear $(VENV); \
	fi
	@echo "setting up $(VENV) (a few minutes the first time: PyTorch is large)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[dev]"
	@touch $@

demo: $(STAMP) ## from a biased classifier to a subnetwork without the shortcut, in runs/demo
	@if [ -z "$(if $(ARGS),given)" ] && [ -f "$(OUT)/metrics.json" ]; then \
	  echo "$(OUT) holds a finished run already; nothing is run, its report is made anew."; \
	  $(BIN)/prusc report "$(OUT)"; \
	else \
	  $(BIN)/prusc run --out $(OUT) $(ARGS); \
	fi
	@echo
	@echo "To look at it:  open $(OUT)/report.html in a browser   |   cat $(OUT)/metrics.json   |   cat $(OUT)/log.txt"
	@echo "To run it anew: make demo ARGS=--force"

lint: $(STAMP) ## ruff, mypy, import-linter
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(STAMP) ## put the code into the house's format
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

# The accessibility check of the browser tests; without npm those tests do without it, and say so.
$(AXE): | $(STAMP)
	@if command -v npm >/dev/null; then \
	  npm install --silent --no-save --no-audit --no-fund --prefix $(VENV)/node axe-core@4 >/dev/null || \
	    echo "axe-core could not be fetched: the tests that need it are skipped" >&2; \
	fi

# One thread a worker, so that the workers do not fight for the cores. Bytecode is kept: the processes that the tests
# start, and the next run, need not compile prusc and the tests again.
test test-slow: export PYTHONDONTWRITEBYTECODE =
test test-slow: export OMP_NUM_THREADS = 1

# mypy takes one core only, half a minute of it without a cache: lint runs beside the tests, and is shown after them.
test: $(STAMP) $(AXE) ## lint, and every test but the slow ones
	@lint=$$(mktemp) && trap 'rm -f "$$lint"' EXIT; \
	$(MAKE) --no-print-directory lint >"$$lint" 2>&1 & \
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(ARGS); tests=$$?; \
	wait $$!; linted=$$?; cat "$$lint"; \
	[ $$linted = 0 ] || echo "lint failed, see above" >&2; \
	[ $$tests = 0 ] || echo "tests failed, see above" >&2; \
	[ $$tests = 0 ] && [ $$linted = 0 ]

test-slow: $(STAMP) ## the slow tests only
	@$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m slow $(ARGS)

docs: $(STAMP) ## the documentation, in build/docs; a warning is an error
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "open build/docs/index.html in a browser"

generalisation: $(STAMP) ## the shipped settings on every development task; ARGS=--small for four of them in 20 minutes
	@$(BIN)/python scripts/make_generalisation.py --workers $(WORKERS) $(ARGS)

results: $(STAMP) ## the tables of docs/results, from runs/results; real images too where PRUSC_DATA names their parent
	@$(BIN)/python scripts/make_results.py fashion-stickers trained-elsewhere random-crops $(if $(PRUSC_DATA),celeba celeba-male isic) --workers $(WORKERS) $(ARGS)

ablations: $(STAMP) ## the table of docs/results/ablations.md, from runs/ablations
	@$(BIN)/python scripts/make_ablations.py --workers $(WORKERS) $(ARGS)

benchmarks: $(STAMP) ## speed and memory, as ratios within one run
	@$(BIN)/python benchmarks/mask_step.py
	@$(BIN)/python benchmarks/function_masks.py
	@$(BIN)/python benchmarks/extraction.py
	@$(BIN)/python benchmarks/clustering.py
	@$(if $(PRUSC_DATA),$(BIN)/python benchmarks/loading.py,echo "loading.py: skipped, PRUSC_DATA does not name ISIC's parent")
	@$(BIN)/python benchmarks/report.py
	@$(BIN)/python benchmarks/bench_overhead.py
	@$(BIN)/python benchmarks/full_size.py

screenshots: $(STAMP) ## the pictures of docs/images, from the report of runs/demo; needs chromium
	@$(BIN)/python scripts/make_screenshots.py $(OUT)

clean: ## caches and build outputs; .venv and runs stay
	@rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	@find src tests scripts benchmarks -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
