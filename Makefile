# make test   set up and run every check (under ten minutes)
# make ci     the slower groups                       make train  train the bundled model again
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
SHARED ?= ../shared

.PHONY: demo test ci lint types rooms unit clean
.DEFAULT_GOAL := demo

# One stamp per set of dependencies; a changed constraint or dependency installs again.
$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --editable .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --editable '.[dev]'
	touch $@

test: lint types rooms unit

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-dev
	$(BIN)/mypy

rooms: $(VENV)/.installed-dev
	$(BIN)/lint-imports

unit: $(VENV)/.installed-dev
	$(BIN)/pytest -m "not slow"

ci: $(VENV)/.installed-dev
	@echo "no slower groups yet"

clean:
	rm -rf $(VENV) .cache build dist
