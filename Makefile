# Two commands: `make demo` and `make test`. Both set up what they need.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# The suite runs on Spark 3.5, which needs Python 3.11.
LOCAL := $(if $(shell $(PYTHON) -c 'import sys; sys.exit(sys.version_info >= (3, 12))' 2>/dev/null && echo old),local-3.5,local)
VENV4 := .venv-spark4
STAMP4 := $(VENV4)/.installed
# Environments of the newer Pythons that are on the PATH.
NEWER := $(foreach v,3.12 3.13,$(if $(shell python$(v) -c 'print(1)' 2>/dev/null),.venv-python$(v)/.installed))
DEMO ?= run/complete_journey
WORKERS ?= 2

.PHONY: demo test test-fast platforms platforms-all lint types layers docs check clean install
.DEFAULT_GOAL := help

help: ## Show the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 10

install: $(STAMP) ## Make .venv with everything in it

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "uv>=0.5"
	$(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode --constraint constraints.txt --editable ".[$(LOCAL),demo,dev]"
	touch $@

demo: $(STAMP) ## Events to scores and report on 1.47 million real purchase lines
	$(BIN)/remedi run --config conf/complete_journey.yaml --root $(DEMO)

test: $(STAMP) ## All tests, by two processes with a Spark session each
	$(BIN)/python -m pytest -n $(WORKERS) -m "not platforms"

test-fast: $(STAMP) ## The quick tests that need no Spark, in two minutes
	$(BIN)/python -m pytest -n $(WORKERS) -m "not spark and not cluster and not slow"

platforms: $(STAMP) $(STAMP4) $(NEWER) ## The chain on Spark 3.5, on Spark 4, over Spark Connect and on newer Pythons
	$(BIN)/python -m pytest -n 0 -m platforms tests/platforms

platforms-all: $(STAMP) $(STAMP4) $(NEWER) ## The same with every verb
	REMEDI_EVERY_VERB=1 $(BIN)/python -m pytest -n 0 -m platforms tests/platforms

$(STAMP4): pyproject.toml constraints.txt
	test -x $(VENV4)/bin/python || $(PYTHON) -m venv $(VENV4)
	$(VENV4)/bin/python -m pip install --quiet --disable-pip-version-check "uv>=0.5"
	grep -vE '^(pyspark|delta-spark|importlib-metadata)==' constraints.txt > $(VENV4)/constraints.txt
	$(VENV4)/bin/uv pip install --quiet --python $(VENV4)/bin/python --compile-bytecode --constraint $(VENV4)/constraints.txt --editable ".[local,demo,dev]"
	touch $@

.venv-python%/.installed: pyproject.toml constraints.txt
	test -x $(@D)/bin/python || python$* -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check "uv>=0.5"
	$(@D)/bin/uv pip install --quiet --python $(@D)/bin/python --compile-bytecode --constraint constraints.txt --editable ".[local,demo,dev]"
	touch $@

lint: $(STAMP) ## ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP) ## mypy, strict
	$(BIN)/mypy

layers: $(STAMP) ## import-linter
	$(BIN)/lint-imports

docs: $(STAMP) ## The documentation site, into site/
	$(BIN)/mkdocs build --strict --quiet

check: test lint types layers ## What CI runs

clean: ## Remove what runs and builds leave behind
	rm -rf run site build dist *.egg-info spark-warehouse metastore_db derby.log
