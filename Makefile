# make demo   train, relabel and draw scikit-learn's digits (about two minutes after the install)
# make test   style, types and tests
# make docs   the documentation as pages, under docs/_build/html
.PHONY: demo test docs check format clean

PYTHON ?= python3
BIN := .venv/bin

demo: .venv/installed
	$(BIN)/python examples/digits.py --overwrite

test: check
	$(BIN)/python -m pytest

docs: .venv/installed-docs
	$(BIN)/python -m sphinx -W --keep-going -q docs docs/_build/html

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

.venv/installed-docs: .venv/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[docs]'
	touch $@

clean:
	rm -rf .venv runs
