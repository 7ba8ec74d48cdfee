# make demo   train, relabel and draw scikit-learn's digits (about a minute and a half after the install)
# make demo-time  how long the demo takes, with all instructions and AVX2 alone, quiet and beside a busy process
# make test   style, types and tests
# make coverage  the tests, with the share of lines and branches that they reach, at least 95 %
# make page-test  the demo page in a browser; brings a Chromium where there is none
# make test-oldest  the tests on the lowest versions that pyproject.toml allows, in .venv-oldest
# make pictures  the docs' pictures that no benchmark makes; needs a Chromium
# make docs   the documentation as pages, under docs/_build/html, its Python blocks run, its linked files and options looked up
.PHONY: demo demo-time test coverage page-test test-oldest docs pictures check format clean

PYTHON ?= python3
BIN := .venv/bin

demo: .venv/installed
	$(BIN)/labelvae train digits --overwrite

demo-time: .venv/installed
	$(BIN)/python benchmarks/demo_time.py

test: check
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto

coverage: .venv/installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --cov -n auto

page-test: .venv/installed-dev
	$(BIN)/python tests/browser.py
	BROWSER_REQUIRED=1 $(BIN)/python -m pytest -q tests/test_page.py tests/test_attribute_browser.py

test-oldest: .venv-oldest/installed
	OMP_NUM_THREADS=1 .venv-oldest/bin/python -m pytest -n auto -W default  # old packages use what newer ones deprecate

docs: .venv/installed-docs .venv/installed-dev
	$(BIN)/python -m sphinx -W --keep-going -q docs docs/_build/html
	$(BIN)/python -m pytest -q tests/test_docs.py

pictures: demo .venv/installed-dev
	$(BIN)/labelvae train digits --overwrite --out runs/digits_unguided --vae.objective.label-weight 0
	$(BIN)/python docs/pictures.py --runs runs/digits runs/digits_unguided

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

.venv-oldest/installed: pyproject.toml
	test -x .venv-oldest/bin/python || $(PYTHON) -m venv .venv-oldest
	.venv-oldest/bin/python -m pip install --quiet --disable-pip-version-check "uv>=0.9"
	.venv-oldest/bin/uv pip install --quiet --python .venv-oldest/bin/python --resolution lowest-direct --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv .venv-oldest runs
