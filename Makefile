# Two commands do everything: `make demo` and `make test`. Each installs what it needs first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test test-slow check install encoders clean

install: $(VENV)/.installed

# torch first and pinned: an open range would pull gigabytes of CUDA packages onto a CPU machine.
$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'cign needs Python 3.11 or newer; set PYTHON=...')"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q $$(grep '^torch==' constraints.txt)
	$(BIN)/pip install -q -c constraints.txt -e '.[dev]'
	touch $@

demo: install
	$(BIN)/cign demo

test: install
	$(BIN)/pytest -n 2

test-slow: install
	$(BIN)/pytest -m slow

check: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# The small pair that is shipped: world 0 rendered, learned, written to src/cign/models/weights.
encoders: install
	$(BIN)/python -m cign.models.pretrain

clean:
	rm -rf demo work .mypy_cache .ruff_cache .pytest_cache
