# make demo   train, relabel and draw scikit-learn's digits (about two minutes after the install)
# make test   style, types and tests
.PHONY: demo test check format clean

PYTHON ?= python3
BIN := .venv/bin

demo: .venv/installed
	$(BIN)/python examples/digits.py --overwrite

test: check
	$(BIN)/python -m pytest

check: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: .venv/installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.venv/installed: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	touch $@

.venv/installed-dev: .venv/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv runs
