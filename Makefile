# Everything that is done with this repository. `make` alone lists it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
WORKERS ?= auto
SEEDS ?= 200

.DEFAULT_GOAL := help
.PHONY: help setup demo test thorough model lint check live simulate docs build clean

help: ## print this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)$$/  make \1|\2/' | column -t -s '|' 2>/dev/null \
		|| grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST)

setup: $(READY) ## make .venv with streamer and all it needs (PYTHON=python3.13 for another Python)

# --group needs pip 25.1; the pip that comes with Python 3.11 is older, so pip renews itself first, inside the venv alone.
$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "streamer needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1). Name another: make setup PYTHON=python3.13" >&2; \
		exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[demo]' --group dev
	@touch $@

demo: setup ## a broker, a market, the daemon killed with -9 in the middle, and the proof that nothing is lost
	$(BIN)/streamer demo

test: setup ## the tests: offline, random order, warnings are errors
	$(BIN)/python -m pytest -q -n $(WORKERS)

thorough: setup ## the long offline tests: the whole model of the protocol, all fixed seeds
	$(BIN)/python -m pytest -q -n $(WORKERS) -m thorough

model: setup ## the exhaustive model of the protocol, larger than the tests run it
	$(BIN)/python -m tests.simulation.position_model

lint: setup ## ruff, mypy and the import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check: lint test ## what a change must pass: lint and test

live: setup ## the tests on a real Kafka and a real S3: STREAMER_TEST_KAFKA, STREAMER_TEST_S3, or a Docker engine
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --group live
	$(BIN)/python -m pytest -q -o addopts="--strict-markers --strict-config -ra" tests/live

simulate: setup ## seeded runs of the whole pipeline under chance: SEEDS=1000 for many, FRESH=200 new ones, SEED=7 to replay one
	$(BIN)/python -m tests.simulation.seeded $(if $(SEED),--seed $(SEED),$(if $(FRESH),--fresh $(FRESH),--seeds $(SEEDS)))

docs: setup ## make docs/configuration.md and docs/metrics.md again from the code
	$(BIN)/python -m streamer.config.document > docs/configuration.md
	$(BIN)/python -m streamer.catalogue > docs/metrics.md

build: setup ## the wheel, in dist/
	rm -rf dist
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist .

clean: ## remove what was made here; demo-lake/ stays, it is yours
	rm -rf $(VENV) dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
