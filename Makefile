# make demo   a photograph to tokens and back, offline; says where the picture is
# make test   all tests
# make lint   style, types, and which room may import which
# Each sets itself up first, once: needs Python 3.11 or newer and, the first time, a network.

PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/setup.stamp
EXTRAS := models,train,eval,text,ray,dev
DEMO := build/demo

.PHONY: setup demo test lint

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "vtok needs Python 3.11 or newer, '$(PYTHON)' is not: try make PYTHON=python3.12"; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt pip hatchling
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-build-isolation --editable '.[$(EXTRAS)]'
	@touch $@

demo: setup
	@mkdir -p $(DEMO)
	$(BIN)/vtok encode examples/raccoon.jpg -o $(DEMO)/raccoon.vtok
	$(BIN)/vtok info $(DEMO)/raccoon.vtok
	$(BIN)/vtok decode $(DEMO)/raccoon.vtok -o $(DEMO)/raccoon-8.png --tokens 8
	$(BIN)/vtok decode $(DEMO)/raccoon.vtok -o $(DEMO)/raccoon-32.png --tokens 32
	$(BIN)/vtok decode $(DEMO)/raccoon.vtok -o $(DEMO)/raccoon-all.png
	$(BIN)/vtok compare examples/raccoon.jpg -o $(DEMO)/compare.png
	@echo "The original beside 1, 2, 4, ... all tokens: $(DEMO)/compare.png"

test: setup
	@$(BIN)/python -m pytest

lint: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
