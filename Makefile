# Everything a person does with the project. `make` alone prints help.
PYTHON ?= python3.11
BIN := .venv/bin
DATA ?= .tidemill
BENCH ?= tests/bench
PACKAGES := libs/contracts libs/chassis libs/registry libs/client \
            services/ingest services/persistor services/trainer services/serving services/gateway cli
SOURCES := $(foreach package,$(PACKAGES),$(wildcard $(package)/tidemill*))
REQUIREMENTS := $(wildcard requirements/*.txt) $(addsuffix /pyproject.toml,$(PACKAGES))
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check --constraint requirements/constraints.txt

# What pytest finds installed and these rings do not use; it takes every worker a second or two to import.
PLAIN := -p no:schemathesis -p no:anyio -p no:valkey
# What wants the machine for itself: it trains on all cores, or says how long things take. The rest waits more than it works.
ALONE := tests/integration/trainer $(addprefix tests/integration/gateway/,test_soak.py test_only_the_guilty.py)
AGAIN := $(if $(CI),--reruns 1)

COMPOSE ?= docker compose

.DEFAULT_GOAL := help
.PHONY: help setup demo up test check lint format types arrows unit doctor events bench bench-serving bench-guilty \
        compose-up compose-demo compose-down containers audit constraints clean

help:  ## print this
	@echo "Tidemill: a stream of examples becomes a served model."
	@echo
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 22

setup: .venv/complete  ## make .venv with everything in it (others do this by themselves)

.venv/complete: $(REQUIREMENTS)
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is missing: install Python 3.11, or type make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@echo "setting up .venv (about a minute on a fast line; TensorFlow is large) …"
	@$(PYTHON) -m venv .venv
	@$(INSTALL) --requirement requirements/build.txt
	@$(INSTALL) --no-build-isolation --requirement requirements/dev.txt $(addprefix --editable ,$(PACKAGES))
	@$(INSTALL) --no-deps --requirement requirements/without-dependencies.txt
	@touch $@

demo: setup  ## watch 5,000 real digits become a served model (up to 6 minutes)
	@$(BIN)/tidemill demo $(DEMO_OPTIONS)

up: setup  ## start the platform here and keep it running until Ctrl-C
	@$(BIN)/tidemill --data $(DATA) up $(UP_OPTIONS)

doctor: setup  ## say what is missing on this machine, and what to type
	@$(BIN)/tidemill --data $(DATA) doctor

check: lint types arrows test  ## lint, types, arrows, tests: what CI runs

test: unit  ## run all tests
	$(BIN)/pytest tests/unit -m long --numprocesses 2 $(PLAIN)
	$(BIN)/pytest tests/contract --numprocesses 2 --dist loadfile $(PLAIN) $(AGAIN)
	$(BIN)/pytest tests/integration $(addprefix --ignore=,$(ALONE)) --numprocesses 2 --dist loadfile $(AGAIN)
	$(BIN)/pytest $(ALONE) tests/system $(AGAIN)

unit: setup  ## run the unit tests only (under 30 seconds)
	$(BIN)/pytest tests/unit -m "not long" --numprocesses 2 --dist worksteal $(PLAIN)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: setup  ## put every file into the house's form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: setup
	$(BIN)/mypy $(SOURCES)
	$(BIN)/mypy --explicit-package-bases tests

arrows: setup
	$(BIN)/lint-imports

events: setup  ## write docs/events.md and the schemas from the events' code
	$(BIN)/python -m tidemill_contracts.catalogue

bench: setup  ## measure: each folder of tests/bench says what
	$(BIN)/pytest $(BENCH) --override-ini=python_files='bench_*.py' --capture=no --timeout=3600

bench-serving: setup  ## measure us beside other model servers: PEERS="mlserver kserve" SECONDS=10
	@$(BIN)/python -m tests.bench.gateway.compare $(if $(PEERS),--peers "$(PEERS)") $(if $(SECONDS),--seconds $(SECONDS))

bench-guilty: setup  ## show whom one caller's mistake hurts, with us and with other model servers: PEERS=...
	@$(BIN)/python -m tests.bench.peers.guilty $(if $(PEERS),--peers "$(PEERS)")

.secrets/pgpass:
	@containers/make-secrets

compose-up: .secrets/pgpass  ## start the platform in containers (EMBEDDED_ENGINE=1: without TensorFlow Serving's image)
	@$(COMPOSE) up --build --detach --wait --wait-timeout 300 $(COMPOSE_UP_OPTIONS)

compose-demo: setup compose-up  ## the demo on the containers' Pub/Sub, Cloud Storage and PostgreSQL; they must be empty
	@set -a; . containers/host.env; $(BIN)/tidemill demo --running $(DEMO_OPTIONS)

compose-down:  ## stop the containers; their volumes stay
	@$(COMPOSE) down --remove-orphans

containers: setup .secrets/pgpass  ## build the images, test them as they run, stop them (EMBEDDED_ENGINE=1: as above)
	@$(BIN)/pytest tests/containers --timeout=1800 $(CONTAINERS_OPTIONS)

audit: setup  ## ask whether vulnerabilities are known of what is pinned; says so where no database answers
	@$(BIN)/python requirements/audit.py

constraints: setup  ## pin what is installed now
	$(BIN)/pip freeze --exclude-editable | grep -v ' @ ' > requirements/constraints.txt

clean:  ## remove .venv and caches, never data
	rm -rf .venv .airflow .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
