# make demo | test | test-slow | lint | bench | docs — each makes its own virtual environment if there is none.
#   make test PYTHON=python3.12 VENV=.venv312 CONSTRAINTS=constraints/newest.txt PYTEST="-k least_squares"
PYTHON      ?= python3
VENV        ?= .venv
CONSTRAINTS ?= constraints/newest.txt
WORKERS     ?= auto
PYTEST      ?=
BENCH       ?= --quick

# Compiling takes most of the tests' time, and with tests/fast_compilation.py a quarter of it. Tests of digits, times and memory run with
# the compiler as users have it; the problems of Moré, Garbow and Hillstrom, whose bounds hold either way, save the most and run without.
AS_USERS_HAVE_IT := $(addprefix tests/,bridge/training/test_sinc.py bridge/training/test_other_trainers_examples.py bridge/layers/test_layers_as_users_compile.py lmjax/least_squares/test_nist.py lmjax/training/test_costs.py \
                      lmjax/objectives/test_linearizations_as_users_compile.py lmjax/runtime/test_faults.py examples)

BIN     := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint $(CONSTRAINTS)

.PHONY: demo test test-slow lint format bench table docs package clean
.DEFAULT_GOAL := demo

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# One stamp for each set of extras; it is remade when the dependencies change, not when the code does (editable install).
$(VENV)/.installed-%: pyproject.toml $(CONSTRAINTS) | $(BIN)/python
	$(INSTALL) --editable '.[$*]'
	@touch $@

demo: $(VENV)/.installed-demo
	$(BIN)/lmjax demo --output demo

# The tests marked slow (fuzzing, kills, long problems) are for `make test-slow`; CI runs both.
test: MARKED := not slow
test-slow: MARKED := slow
# The files of a test stay with one worker, and both share what they compile, which is deleted afterwards: together a fifth less time.
test test-slow: $(VENV)/.installed-dev
	$(BIN)/python -m pytest --numprocesses $(WORKERS) $(AS_USERS_HAVE_IT) -m "$(MARKED)" $(PYTEST) || test $$? -eq 5  # none selected
	cache="$$(mktemp -d)" && trap 'rm -rf "$$cache"' EXIT && \
	export JAX_COMPILATION_CACHE_DIR="$$cache" JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS=0 && \
	XLA_FLAGS="$$($(BIN)/python tests/fast_compilation.py) $$XLA_FLAGS" \
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile $(AS_USERS_HAVE_IT:%=--ignore=%) -m "$(MARKED)" $(PYTEST)

lint: $(VENV)/.installed-dev $(VENV)/.installed-lint
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy
	$(BIN)/lint-imports --no-logo

format: $(VENV)/.installed-dev
	$(BIN)/python -m ruff check --fix .
	$(BIN)/python -m ruff format .

bench: $(VENV)/.installed-bench
	$(BIN)/python -m benchmarks $(BENCH)

# The table of layers in the README, from the registry.
table: $(VENV)/.installed-dev
	$(BIN)/python docs/support_table.py

docs: $(VENV)/.installed-docs
	$(BIN)/python -m pdoc --docformat google --math --output-directory build/docs lmjax lmjax.keras lmjax.optax bridge

package: $(VENV)/.installed-dev
	$(BIN)/python -m build --outdir dist

clean:
	rm -rf $(VENV) build dist demo .pytest_cache .mypy_cache .ruff_cache .hypothesis
