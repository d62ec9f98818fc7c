# Two commands do everything on a machine with Python ≥ 3.11 and make: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LOCK := requirements-dev.lock
STAMP := $(VENV)/.installed
PYTEST := $(BIN)/python -m pytest
JOBS ?= 2
OUTSIDE := $(PATH)
export PATH := $(CURDIR)/$(BIN):$(PATH)
unexport PYTHONDONTWRITEBYTECODE # images set it; then every process of a test compiles all that it imports again

.PHONY: setup demo demo-incident demo-canary test test-slow check format bench docs docs-incident lock clean

setup: $(STAMP)

# uv where it is there; else a venv with pip, and uv installed into it. A uv inside the venv would delete itself.
$(STAMP): export PATH := $(OUTSIDE)
$(STAMP): $(LOCK) pyproject.toml
	@echo "setting up $(VENV) from $(LOCK) (once; a minute or two)"
	@if command -v uv >/dev/null 2>&1; then \
	  uv venv -q --clear --python $(PYTHON) $(VENV) && \
	  uv pip sync -q --compile-bytecode --python $(BIN)/python --require-hashes $(LOCK) && \
	  uv pip install -q --python $(BIN)/python --no-deps -e . ; \
	else \
	  $(PYTHON) -m venv --clear $(VENV) && $(BIN)/python -m pip install -q uv && \
	  $(BIN)/uv pip install -q --compile-bytecode --python $(BIN)/python --require-hashes -r $(LOCK) && \
	  $(BIN)/uv pip install -q --python $(BIN)/python --no-deps -e . ; \
	fi
	@touch $@

demo: setup
	@$(BIN)/python examples/search_ranking/demo.py $(if $(DATA),--data $(DATA))

demo-incident: setup
	@$(BIN)/python examples/search_ranking/incident.py $(if $(DATA),--data $(DATA))

demo-canary: setup
	@$(BIN)/python examples/search_ranking/canary.py $(if $(DATA),--data $(DATA))

check: setup
	@$(BIN)/ruff format --check --quiet . && $(BIN)/ruff check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: setup
	@$(BIN)/ruff format --quiet . ; $(BIN)/ruff check --quiet --fix .

test: check
	$(PYTEST) -n $(JOBS) --dist loadfile --no-loadscope-reorder -m "not slow"

test-slow: check
	$(PYTEST) -n $(JOBS) -m slow --timeout 3600

bench: setup
	@$(BIN)/python -m benchmarks

docs: setup
	@$(BIN)/python docs/generate.py

docs-incident: setup # three minutes: it runs the incident
	@$(BIN)/python docs/tell_incident.py

lock:
	uv pip compile -q --universal --generate-hashes --python-version 3.11 pyproject.toml -o requirements.lock
	uv pip compile -q --universal --generate-hashes --python-version 3.11 pyproject.toml --extra mlflow --extra serve --extra kafka --extra traces --group dev -o $(LOCK)

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
