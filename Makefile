# Everything that is done with this repository. `make` alone lists it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
WORKERS ?= auto
SEEDS ?= 200
MINUTES ?= 10

.DEFAULT_GOAL := help
.PHONY: help setup demo test thorough model lint check live simulate chaos soak audit docs bench build clean

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

thorough: setup ## the long offline tests: the whole model of the protocol, all fixed seeds, fuzzing with twenty times the examples
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

chaos: setup ## replicas under fire on real servers (tests/live/chaos/servers.py): MINUTES=10, SEED=7, FAULTS=sigstop,broker, JSON=file
	$(BIN)/python -m tests.live.chaos --minutes $(MINUTES) $(if $(SEED),--seed $(SEED)) $(if $(FAULTS),--faults $(FAULTS)) \
		$(if $(JSON),--json $(JSON))

soak: setup ## 5 million records, then constant load, on one daemon: memory, descriptors, tasks; STREAMER_TEST_KAFKA, STREAMER_TEST_S3
	$(BIN)/python bench/soak.py $(if $(JSON),--json $(JSON))

fuzz: setup ## coverage-guided fuzzing of the lake's documents: SECONDS=60; installs atheris, which not every Python has
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'atheris>=3'
	$(BIN)/python -m tests.fuzz.coverage_guided -max_total_time=$(or $(SECONDS),60)

audit: setup ## known vulnerabilities in the versions of the container image; exit status 3 where no database can be asked
	$(BIN)/python -m tests.security.audit

docs: setup ## make docs/configuration.md, docs/metrics.md and docs/errors.md again from the code
	$(BIN)/python -m streamer.config.document > docs/configuration.md
	$(BIN)/python -m streamer.catalogue > docs/metrics.md
	$(BIN)/python -m streamer.error_catalogue > docs/errors.md

# Quix Streams wants another confluent-kafka and boto3 than we do, so it has an environment of its own. Without it the rest is measured.
bench: setup ## throughput beside the limits and others: KAFKA=host:port S3=..., QUICK=1; see docs/performance.md
	@test -x $(VENV)-quix/bin/python || { $(PYTHON) -m venv $(VENV)-quix \
		&& $(VENV)-quix/bin/python -m pip install --quiet --disable-pip-version-check 'quixstreams[s3]>=3.20' pyarrow; } \
		|| { rm -rf $(VENV)-quix; echo "quixstreams cannot be installed here; it is left out" >&2; }
	KAFKA='$(KAFKA)' S3='$(S3)' DATA='$(DATA)' QUICK='$(QUICK)' QUIX='$(VENV)-quix/bin/python' $(BIN)/python -m bench.throughput

build: setup ## the wheel, in dist/
	rm -rf dist
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist .

clean: ## remove what was made here; demo-lake/ stays, it is yours
	rm -rf $(VENV) $(VENV)-quix dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
