# Two commands: `make demo` and `make test`. Everything lives in .venv; nothing is downloaded but
# packages from the Python package index.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo test test-slow lint types install install-dev bench results-table clean

demo: $(VENV)/core.stamp
	$(BIN)/blemish demo

test: $(VENV)/dev.stamp lint types
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow" -n 2 --dist loadfile

test-slow: $(VENV)/dev.stamp
	$(BIN)/python -m pytest -m slow

lint: $(VENV)/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/dev.stamp
	$(BIN)/mypy

install: $(VENV)/core.stamp
install-dev: $(VENV)/dev.stamp

$(VENV)/core.stamp: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/dev.stamp: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable ".[train,station,scale,dev]"
	touch $(VENV)/core.stamp $@

# Measures everything that is published again; needs BLEMISH_DATA and BLEMISH_WEIGHTS, 25 minutes.
bench: $(VENV)/dev.stamp
	$(BIN)/python benchmarks/run.py demo screw magnetic_tile promise coreset footprint
	$(BIN)/python benchmarks/metrics_speed.py --images 160 1600 --out benchmarks/results
	$(BIN)/python benchmarks/results_table.py

results-table: $(VENV)/core.stamp
	$(BIN)/python benchmarks/results_table.py
	$(BIN)/python benchmarks/capacity.py table

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache
